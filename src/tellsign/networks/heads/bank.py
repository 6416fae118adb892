"""A head that has nothing to train and stores features instead."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Bank(Protocol):
    """What a head does that stores labelled features, as ``nearest`` does."""

    def store(self, features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> None:
        """Replace what is stored by labelled features (0 real, 1 fake)."""
