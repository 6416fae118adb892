"""The linear head."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class Linear(nn.Module):
    """One linear layer, as in MPFT and LoL."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dim, 1)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Logits of fake."""
        return self.layer(features)[:, 0]
