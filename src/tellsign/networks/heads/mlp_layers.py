"""The head of two layers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class Mlp(nn.Module):
    """Two layers with a ReLU between: dim → hidden → 1."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1))

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Logits of fake."""
        return self.layers(features)[:, 0]
