"""A rate that falls along half a cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def cosine_rate(lr: float, epoch: int, epochs: int, schedule: Mapping[str, Any]) -> float:
    """Learning rate of an epoch (0-based): half a cosine from ``lr``, which would reach ``floor`` after the last.

    Source: Loshchilov & Hutter (2017), Eq. 5, without restarts and by whole epochs.
    """
    floor = schedule["floor"]
    return floor + (lr - floor) * (1 + math.cos(math.pi * epoch / epochs)) / 2
