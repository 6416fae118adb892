"""One linear layer, as in MPFT and LoL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tellsign.schema.fields import Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    from tellsign.networks.heads.linear_layer import Linear


class LinearHead(Settings):
    """One linear layer, as in MPFT and LoL.

    Attributes:
        init_std: Weights of linear layers start as N(0, init_std²); null for torch's own start. The public code of
            CNNDet and of UniFD takes 0.02.
    """

    name: Literal["linear"] = "linear"
    init_std: Positive[float] | None = None


def linear(dim: int, *, init_std: float | None) -> Linear:
    """One linear layer; see `LinearHead`."""
    from tellsign.networks.heads.linear_layer import Linear
    from tellsign.networks.heads.start import started

    return started(Linear(dim), init_std)
