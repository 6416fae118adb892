"""Expected calibration error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tellsign.evaluation.tally import Numbers, Tally, share

if TYPE_CHECKING:
    from jaxtyping import Float, Int

BINS = 15


def measure(tally: Tally) -> Numbers:
    """Mean over bins of |share of fakes - mean score|, weighed by the images of the bin; in [0, 1].

    Bins are equally wide in the score (Guo et al. 2017, equation 3, for the class fake rather than for the
    class called).
    """
    gaps = np.abs(tally.sums(gaps_by_bin)).sum(axis=tally.axis)
    return share(gaps, tally.fakes + tally.reals)


def gaps_by_bin(
    labels: Int[np.ndarray, "... images"], scores: Float[np.ndarray, "... images"]
) -> Float[np.ndarray, "bins ... images"]:
    """Label minus score of each image in the row of its bin, 0 in the others."""
    bin_of = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    gap = labels - scores.astype(np.float64)
    return np.stack([(bin_of == number) * gap for number in range(BINS)])
