"""Accuracy at the stated threshold."""

from __future__ import annotations

from tellsign.evaluation.tally import Numbers, Tally, share


def measure(tally: Tally) -> Numbers:
    """Share of all images called rightly; fake means score > threshold, as public detectors call it."""
    called = tally.called
    return share(called.fakes + tally.reals - called.reals, tally.fakes + tally.reals)
