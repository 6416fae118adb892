"""Accuracy on the real images."""

from __future__ import annotations

from tellsign.evaluation.tally import Numbers, Tally, share


def measure(tally: Tally) -> Numbers:
    """Share of the real images called real at the stated threshold; NaN without real images."""
    return 1 - share(tally.called.reals, tally.reals)
