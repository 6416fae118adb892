"""A rate that stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def constant_rate(lr: float, epoch: int, epochs: int, schedule: Mapping[str, Any]) -> float:
    """Learning rate of every epoch: ``lr``."""
    return lr
