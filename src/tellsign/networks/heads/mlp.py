"""Two layers with a ReLU between: dim → hidden → 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tellsign.schema.fields import Fraction, Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    from tellsign.networks.heads.mlp_layers import Mlp


class MlpHead(Settings):
    """Two layers with a ReLU between: dim → hidden → 1.

    Attributes:
        hidden: Width of the hidden layer.
        dropout: On that layer.
        init_std: Weights of linear layers start as N(0, init_std²); null for torch's own start. The public code of
            CNNDet and of UniFD takes 0.02.
    """

    name: Literal["mlp"]
    hidden: Positive[int] = 512
    dropout: Fraction = 0.0
    init_std: Positive[float] | None = None


def mlp(dim: int, *, hidden: int, dropout: float, init_std: float | None) -> Mlp:
    """Two layers; see `MlpHead`."""
    from tellsign.networks.heads.mlp_layers import Mlp
    from tellsign.networks.heads.start import started

    return started(Mlp(dim, hidden, dropout), init_std)
