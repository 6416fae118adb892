"""A rate that falls in steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def step_rate(lr: float, epoch: int, epochs: int, schedule: Mapping[str, Any]) -> float:
    """Learning rate of an epoch (0-based): ``lr`` times ``factor`` for every ``every`` epochs done.

    ``every=1, factor=0.5`` is MPFT's Table 9 (StepLR(1, 0.5)); ``factor=1`` keeps the rate constant.
    """
    return lr * schedule["factor"] ** (epoch // schedule["every"])
