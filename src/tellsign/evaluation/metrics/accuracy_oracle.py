"""Accuracy at the best threshold."""

from __future__ import annotations

from tellsign.evaluation.tally import Numbers, Tally, share


def measure(tally: Tally) -> Numbers:
    """Highest accuracy that any threshold reaches on these very images.

    It looks at the test labels, so it is an upper bound and no result; LaRE2's public code reports it as its
    accuracy.
    """
    called = tally.called_by_oracle
    return share(called.fakes + tally.reals - called.reals, tally.fakes + tally.reals)
