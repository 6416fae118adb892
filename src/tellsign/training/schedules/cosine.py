"""A rate that falls along half a cosine."""

from __future__ import annotations

import math
from typing import Literal

from tellsign.schema.fields import NonNegative
from tellsign.training.schedules.warm_up import WarmUp


class CosineSchedule(WarmUp):
    """A rate that falls along half a cosine, without restarts.

    Attributes:
        floor: The rate that it would reach after the last epoch.
    """

    kind: Literal["cosine"] = "cosine"
    floor: NonNegative[float] = 0.0


def cosine(lr: float, epoch: int, epochs: int, *, floor: float) -> float:
    """Learning rate of an epoch (0-based): half a cosine from ``lr``, which would reach ``floor`` after the last.

    Source: Loshchilov & Hutter (2017), Eq. 5, without restarts and by whole epochs.
    """
    return floor + (lr - floor) * (1 + math.cos(math.pi * epoch / epochs)) / 2
