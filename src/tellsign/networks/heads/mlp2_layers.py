"""TIDY's head."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class Discrepancy(nn.Module):
    """TIDY's head (§3.3, "output dimension of 2"): dim → hidden → 2 with a softmax.

    The one logit is the difference of the two: softmax[fake] = sigmoid(z_fake - z_real), and binary cross-
    entropy on it is the cross-entropy on the two.
    """

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2))

    def two_logits(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b 2"]:
        """Logits of real and fake."""
        return self.layers(features)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Logits of fake against real."""
        real, fake = self.two_logits(features).unbind(1)
        return fake - real
