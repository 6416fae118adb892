"""Sums that know whether some of their parts are unknown, and how people read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """A sum; ``whole`` is false when a part of it is unknown, so that it is the least it can be."""

    value: float = 0.0
    whole: bool = True

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.value + other.value, self.whole and other.whole)

    def __mul__(self, factor: float) -> Amount:
        return Amount(self.value * factor, self.whole)


UNKNOWN = Amount(0.0, whole=False)


def amount(value: float | None) -> Amount:
    """A known number, or nothing known."""
    return UNKNOWN if value is None else Amount(value)


def total(amounts: Iterable[Amount]) -> Amount:
    """Their sum."""
    return sum(amounts, Amount())


def counted(amount: Amount) -> str:
    """A number of images for people."""
    value = amount.value
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return _bounded(f"{value / size:.3g} {unit}", amount)
    return _bounded(f"{value:.0f}", amount)


def disk(amount: Amount) -> str:
    """Bytes for people."""
    value = amount.value
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return _bounded(f"{value / size:.3g} {unit}", amount)
    return _bounded(f"{value:.0f} B", amount)


def duration(amount: Amount) -> str:
    """Hours for people; seconds and minutes where there are few. What is unknown may be by far the most."""
    value = amount.value
    if value < 1.5 / 60:
        text = f"{value * 3600:.0f} s"
    elif value < 1.5:
        text = f"{value * 60:.0f} min"
    else:
        text = f"{value:,.0f} h" if value >= 10 else f"{value:.1f} h"
    if amount.whole:
        return text if value else "–"
    return f"unknown + {text}" if value else "unknown"


def _bounded(text: str, amount: Amount) -> str:
    if amount.whole:
        return text if amount.value else "–"
    return f"≥ {text}" if amount.value else "?"
