"""AdamW, which decays weights apart from the gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from tellsign.schema.fields import Fraction, Pair, Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from tellsign.training.optimisers.adam_steps import Adam


class AdamWSettings(Settings):
    """AdamW, which decays weights apart from the gradient.

    Attributes:
        lr: Learning rate, before the schedule.
        betas: Decay rates of the first and second moment.
        weight_decay: Decay of the weights, apart from the gradient.
    """

    name: Literal["adamw"] = "adamw"
    lr: Positive[float] = 1e-4
    betas: Pair[Fraction] = (0.9, 0.999)
    weight_decay: float = 0.0


def adamw(params: Iterable[nn.Parameter], *, lr: float, betas: Sequence[float], weight_decay: float) -> Adam:
    """AdamW (Loshchilov & Hutter 2019)."""
    from tellsign.training.optimisers.adam_steps import Adam

    first, second = betas
    return Adam(params, lr=lr, betas=(first, second), weight_decay=weight_decay, decoupled=True)
