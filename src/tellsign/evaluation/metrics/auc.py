"""Area under the ROC curve."""

from __future__ import annotations

from tellsign.evaluation.tally import Numbers, Tally, share


def measure(tally: Tally) -> Numbers:
    """Chance that a fake outscores a real image, ties counting half (Mann and Whitney).

    NaN without fakes or without reals.
    """
    won = tally.from_above.total(tally.outscored)
    return share(won * tally.real_scale, tally.fakes * tally.reals)
