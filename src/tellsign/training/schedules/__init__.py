"""Schedules of the learning rate by whole epochs, one file an entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tellsign.errors import choose
from tellsign.training.schedules.constant import constant_rate
from tellsign.training.schedules.cosine import cosine_rate
from tellsign.training.schedules.step import step_rate

SCHEDULES: dict[str, Callable[[float, int, int, Mapping[str, Any]], float]] = {
    "step": step_rate,
    "constant": constant_rate,
    "cosine": cosine_rate,
}
"""Each from the learning rate, the epoch (0-based), the number of epochs and the section to that epoch's rate."""


def scheduled_rate(lr: float, epoch: int, epochs: int, schedule: Mapping[str, Any]) -> float:
    """Learning rate of an epoch (0-based) by a recipe's ``schedule`` section.

    A warm-up of w epochs rises in equal steps towards the rate of epoch w, the first that follows the schedule.

    Raises:
        UserError: unknown schedule.
    """
    rate, warmup = choose(SCHEDULES, schedule["kind"], "schedule"), schedule["warmup"]
    if epoch < warmup:
        return rate(lr, warmup, epochs, schedule) * (epoch + 1) / (warmup + 1)
    return rate(lr, epoch, epochs, schedule)
