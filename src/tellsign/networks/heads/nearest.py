"""UniFD's nearest neighbour among the training images' features; nothing is trained, so ``epochs: 0``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from tellsign.schema.fields import Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    from tellsign.networks.heads.nearest_bank import Nearest


class NearestHead(Settings):
    """UniFD's nearest neighbour among the training images' features; nothing is trained, so ``epochs: 0``.

    Attributes:
        k: The majority among the k nearest; odd.
    """

    name: Literal["nearest"]
    k: Positive[int] = 1

    @model_validator(mode="after")
    def _one_class_in_the_majority(self) -> Self:
        if self.k % 2 == 0:
            raise ValueError(f"k is {self.k}; it must be odd, so that one class is in the majority.")
        return self


def nearest(dim: int, *, k: int) -> Nearest:
    """Nearest neighbours; see `NearestHead`.

    Raises:
        UserError: k is even.
    """
    from tellsign.networks.heads.nearest_bank import Nearest

    return Nearest(dim, k)
