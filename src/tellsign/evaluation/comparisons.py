"""Two detectors on the same images: whether one errs less often than the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tellsign.evaluation.tally import Threshold, curve

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def called_fake(
    labels: Int[np.ndarray, " images"], scores: Float[np.ndarray, " images"], threshold: Threshold
) -> Bool[np.ndarray, " images"]:
    """Which images are called fake."""
    if threshold != "oracle":
        return scores > threshold
    points = curve(labels, scores)
    best = int(np.argmax(points.fakes - points.reals))
    worth = points.fakes[best] > points.reals[best]
    return scores >= points.thresholds[best] if worth else np.zeros(len(scores), bool)


def mcnemar(right: Bool[np.ndarray, " images"], other_right: Bool[np.ndarray, " images"]) -> float:
    """Exact two-sided McNemar test: p-value that two detectors err equally often on the same images.

    Args:
        right: whether the first detector called each image rightly.
        other_right: the same for the second, in the same order.
    """
    gained = int(np.count_nonzero(right & ~other_right))
    lost = int(np.count_nonzero(other_right & ~right))
    n, least = gained + lost, min(gained, lost)
    if n == 0:
        return 1.0
    # logarithms: 2**n overflows a float beyond 1,023 disagreements
    ways = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(least + 1)]
    tail = sum(math.exp(way - n * math.log(2)) for way in ways)
    return min(1.0, 2 * tail)
