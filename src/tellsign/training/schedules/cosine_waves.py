"""A rate that falls and climbs along a cosine."""

from __future__ import annotations

import math
from typing import Literal

from tellsign.schema.fields import Positive
from tellsign.training.schedules.warm_up import WarmUp


class CosineWavesSchedule(WarmUp):
    """A rate that falls to 0 along half a cosine, climbs back along the next half, and so on.

    Attributes:
        half: Epochs of each half.
    """

    kind: Literal["cosine_waves"]
    half: Positive[int] = 5


def cosine_waves(lr: float, epoch: int, epochs: int, *, half: int) -> float:
    """Learning rate of an epoch (0-based): ``lr (1 + cos(π epoch / half)) / 2``.

    Source: torch's CosineAnnealingLR whose ``T_max`` is shorter than the training, as in DRCT's public code.
    """
    return lr * (1 + math.cos(math.pi * epoch / half)) / 2
