"""Whether what a paper's sentence says holds for our numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

Verdict = Literal["holds", "does not hold", "not decided"]


def verdict(low: float, high: float, by_seed: Sequence[float], threshold: float) -> Verdict:
    """Whether a number is above a threshold.

    Args:
        low, high: Its 95 % interval over test images; NaN where there is none.
        by_seed: Its value of each seed.
        threshold: In the same unit.

    Returns:
        ``holds`` where the interval and the value of every seed are above, ``does not hold`` where none of them
        reaches it, else ``not decided``.
    """
    everything = (low, high, *by_seed)
    if any(math.isnan(number) for number in everything):
        return "not decided"
    if min(everything) > threshold:
        return "holds"
    return "does not hold" if max(everything) < threshold else "not decided"


def least_that_prints_as(printed: str) -> float:
    """The lowest number that rounds to printed digits: 11.95 for ``12.0``."""
    number = Decimal(printed.replace(",", ""))
    return float(number - Decimal("0.5").scaleb(int(number.as_tuple().exponent)))
