"""Accuracy on the fake images."""

from __future__ import annotations

from tellsign.evaluation.tally import Numbers, Tally, share


def measure(tally: Tally) -> Numbers:
    """Share of the fake images called fake at the stated threshold; NaN without fake images."""
    return share(tally.called.fakes, tally.fakes)
