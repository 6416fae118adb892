"""Average precision with fake as the positive class."""

from __future__ import annotations

from tellsign.evaluation.tally import Numbers, Tally, average_precision


def measure(tally: Tally) -> Numbers:
    """Average precision of the fakes, ranked from the highest score down; NaN without fakes."""
    return average_precision(tally.from_above, tally.fakes)
