"""A rate that stays."""

from __future__ import annotations

from typing import Literal

from tellsign.training.schedules.warm_up import WarmUp


class ConstantSchedule(WarmUp):
    """A rate that stays."""

    kind: Literal["constant"] = "constant"


def constant(lr: float, epoch: int, epochs: int) -> float:
    """Learning rate of every epoch: ``lr``."""
    return lr
