"""What all schedules share: a warm-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tellsign.schema.fields import NonNegative
from tellsign.schema.settings import Settings
from tellsign.training.schedules import SCHEDULES


class WarmUp(Settings):
    """The settings of every schedule.

    Attributes:
        warmup: The first epochs rise linearly to what the schedule says after them; 0 for none.
    """

    warmup: NonNegative[int] = 0


def scheduled_rate(lr: float, epoch: int, epochs: int, schedule: Mapping[str, Any]) -> float:
    """Learning rate of an epoch (0-based) by a recipe's ``schedule`` section.

    A warm-up of w epochs rises in equal steps towards the rate of epoch w, the first that follows the schedule.

    Raises:
        UserError: unknown schedule.
    """
    options = dict(schedule)
    rate, warmup = SCHEDULES.load(options.pop("kind")), options.pop("warmup")
    if epoch < warmup:
        return rate(lr, warmup, epochs, **options) * (epoch + 1) / (warmup + 1)
    return rate(lr, epoch, epochs, **options)


def rate_by_epoch(settings: Mapping[str, Any]) -> Callable[[int], float]:
    """The learning rate by epoch (0-based) of a recipe: of its ``optimiser``, ``schedule`` and ``epochs``."""
    return lambda epoch: scheduled_rate(settings["optimiser"]["lr"], epoch, settings["epochs"], settings["schedule"])
