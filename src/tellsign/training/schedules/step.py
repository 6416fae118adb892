"""A rate that falls in steps."""

from __future__ import annotations

from typing import Literal

from tellsign.schema.fields import Fraction, Positive
from tellsign.training.schedules.warm_up import WarmUp


class StepSchedule(WarmUp):
    """A rate that falls in steps.

    Attributes:
        every: Epochs between two steps.
        factor: What a step multiplies the rate with; 1 keeps it.
    """

    kind: Literal["step"] = "step"
    every: Positive[int] = 1
    factor: Fraction = 1.0


def step(lr: float, epoch: int, epochs: int, *, every: int, factor: float) -> float:
    """Learning rate of an epoch (0-based): ``lr`` times ``factor`` for every ``every`` epochs done.

    ``every=1, factor=0.5`` is MPFT's Table 9 (StepLR(1, 0.5)); ``factor=1`` keeps the rate constant.
    """
    return lr * factor ** (epoch // every)
