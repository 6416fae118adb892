"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from tellsign.errors import UserError
from tellsign.schema.fields import Fraction, Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from tellsign.training.optimisers.sgd_steps import Sgd


class SgdSettings(Settings):
    """Stochastic gradient descent with momentum.

    Attributes:
        lr: Learning rate, before the schedule.
        weight_decay: L2 penalty, part of the gradient.
        momentum: Decay of the velocity; 0 for none.
        nesterov: Look ahead along the velocity.
        dampening: What of each gradient does not enter the velocity, as a share (Spec's public code).
    """

    name: Literal["sgd"] = "sgd"
    lr: Positive[float] = 1e-4
    weight_decay: float = 0.0
    momentum: Fraction = 0.9
    nesterov: bool = False
    dampening: Fraction = 0.0

    @model_validator(mode="after")
    def _looks_ahead_along_something(self) -> Self:
        if self.nesterov and (not self.momentum or self.dampening):
            raise ValueError("nesterov needs a momentum above 0 and no dampening.")
        return self


def sgd(
    params: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    dampening: float,
) -> Sgd:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013).

    Raises:
        UserError: nesterov without momentum.
    """
    from tellsign.training.optimisers.sgd_steps import Sgd

    if nesterov and not momentum:
        raise UserError("optimiser.nesterov looks ahead along the velocity; give optimiser.momentum above 0.")
    return Sgd(params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, dampening=dampening)
