"""TIDY's head: two layers, two logits with a softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tellsign.schema.fields import Fraction, Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    from tellsign.networks.heads.mlp2_layers import Discrepancy


class Mlp2Head(Settings):
    """TIDY's head: two layers, two logits with a softmax.

    Attributes:
        hidden: Width of the hidden layer.
        dropout: On that layer.
        init_std: Weights of linear layers start as N(0, init_std²); null for torch's own start. The public code of
            CNNDet and of UniFD takes 0.02.
    """

    name: Literal["mlp2"] = "mlp2"
    hidden: Positive[int] = 512
    dropout: Fraction = 0.0
    init_std: Positive[float] | None = None


def mlp2(dim: int, *, hidden: int, dropout: float, init_std: float | None) -> Discrepancy:
    """Two layers and two logits; see `Mlp2Head`."""
    from tellsign.networks.heads.mlp2_layers import Discrepancy
    from tellsign.networks.heads.start import started

    return started(Discrepancy(dim, hidden, dropout), init_std)
