"""From scores to probabilities, by pictures whose labels are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tellsign.errors import UserError

LEAST = 20
"""Pictures of each label below which a calibration is not worth its name."""

EDGE = 1e-7
"""Scores are kept so far from 0 and 1, where their logit has no value."""


@dataclass(frozen=True)
class Calibration:
    """Platt's scaling: the logit of a score, times a slope, plus an intercept, is that of the probability.

    Attributes:
        slope: Above 0.
        intercept: Of the line.
        reals: How many real pictures it was fitted on.
        fakes: How many generated ones.
    """

    slope: float
    intercept: float
    reals: int
    fakes: int

    def probability(self, score: float) -> float:
        """Probability that a picture of this score is generated, if as many are real as generated."""
        return float(1 / (1 + np.exp(-(self.slope * _logit(np.float64(score)) + self.intercept))))


def calibrated(
    scores: Float[np.ndarray, " n"] | Sequence[float], labels: Int[np.ndarray, " n"] | Sequence[int]
) -> Calibration:
    """Fit Platt's scaling (Platt 1999), each label weighing as much as the other.

    Args:
        scores: p(fake) of pictures.
        labels: 0 real, 1 fake.

    Raises:
        UserError: there are fewer than `LEAST` pictures of a label, or greater scores do not go with fakes.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = _logit(np.asarray(scores, np.float64))[:, None], np.asarray(labels)
    reals, fakes = int((y == 0).sum()), int((y == 1).sum())
    if min(reals, fakes) < LEAST:
        raise UserError(
            f"--calibrate has {reals} real and {fakes} generated pictures with a score; it takes {LEAST} of each at "
            "least, and a few hundred are better."
        )
    fitted = LogisticRegression(C=1e6, class_weight="balanced", max_iter=1000).fit(x, y)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:
        raise UserError(
            f"on the pictures of --calibrate greater scores do not go with generated ones (slope {slope:.3g}), so that "
            "no probability follows from a score. These detectors tell nothing about such pictures."
        )
    return Calibration(slope, intercept, reals, fakes)


def _logit(scores: np.ndarray | np.float64) -> np.ndarray:
    kept = np.clip(scores, EDGE, 1 - EDGE)
    return np.log(kept / (1 - kept))
