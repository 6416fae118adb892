"""Average precision with real as the positive class."""

from __future__ import annotations

from tellsign.evaluation.tally import Numbers, Tally, average_precision


def measure(tally: Tally) -> Numbers:
    """Average precision of the reals, ranked from the lowest score up; NaN without reals."""
    return average_precision(tally.from_below, tally.reals)
