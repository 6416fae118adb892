"""Numbers from scores alone: accuracy, average precision, AUC, calibration, intervals, paired tests.

Labels are 0 real and 1 fake, scores are p(fake) in [0, 1]. Every metric takes optional ``weights`` with any
leading axes (one row a bootstrap resample) and returns those axes: a thousand resamples cost one call.

Which class is positive matters for average precision and for nothing else here. MPFT and LoL write y = 1 for
real, public detectors mark fake as positive; both are computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

BLOCK = 2_000_000
"""Weights drawn at once (resamples x images): bounds the memory of a bootstrap, about 16 MB an array."""


@dataclass(frozen=True)
class Curve:
    """Operating points of a detector: what lies at or above each distinct score, from the highest score down.

    Attributes:
        thresholds: the distinct scores, descending.
        fakes: weight of the fake images scored at or above each threshold.
        reals: weight of the real images scored at or above each threshold.
    """

    thresholds: Float[np.ndarray, " points"]
    fakes: Float[np.ndarray, "... points"]
    reals: Float[np.ndarray, "... points"]

    @property
    def fake_total(self) -> Float[np.ndarray, ...]:
        """Weight of all fake images."""
        return self.fakes[..., -1]

    @property
    def real_total(self) -> Float[np.ndarray, ...]:
        """Weight of all real images."""
        return self.reals[..., -1]


def curve(
    labels: Int[np.ndarray, " images"],
    scores: Float[np.ndarray, " images"],
    weights: Float[np.ndarray, "... images"] | None = None,
) -> Curve:
    """Accumulate the weights of fakes and reals by descending score; equal scores make one point.

    Raises:
        ValueError: no image at all.
    """
    if len(scores) == 0:
        raise ValueError("a curve needs at least one score")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    fake = labels[order] == 1
    weighed = np.ones(len(ranked)) if weights is None else weights[..., order]
    everything = np.cumsum(weighed, axis=-1)[..., ends]
    fakes = np.cumsum(weighed * fake, axis=-1)[..., ends]
    return Curve(ranked[ends].astype(np.float64), fakes, everything - fakes)


def _share(part: Float[np.ndarray, ...], whole: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    """``part / whole``; NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _called_fake(points: Curve, threshold: float) -> tuple[Float[np.ndarray, ...], Float[np.ndarray, ...]]:
    """Weight of the fakes and of the reals with a score above the threshold."""
    above = int(np.count_nonzero(points.thresholds > threshold))
    if above == 0:
        return np.zeros_like(points.fake_total), np.zeros_like(points.real_total)
    return points.fakes[..., above - 1], points.reals[..., above - 1]


def accuracy(points: Curve, threshold: float) -> Float[np.ndarray, ...]:
    """Share of all images called rightly; fake means score > threshold, as public detectors call it."""
    fakes, reals = _called_fake(points, threshold)
    return _share(fakes + points.real_total - reals, points.fake_total + points.real_total)


def accuracy_real(points: Curve, threshold: float) -> Float[np.ndarray, ...]:
    """Share of the real images called real; NaN without real images."""
    _, reals = _called_fake(points, threshold)
    return _share(points.real_total - reals, points.real_total)


def accuracy_fake(points: Curve, threshold: float) -> Float[np.ndarray, ...]:
    """Share of the fake images called fake; NaN without fake images."""
    fakes, _ = _called_fake(points, threshold)
    return _share(fakes, points.fake_total)


def accuracy_oracle(points: Curve) -> Float[np.ndarray, ...]:
    """Highest accuracy that any threshold reaches on these very images.

    It looks at the test labels, so it is an upper bound and no result; LaRE2's public code reports it as its
    accuracy.
    """
    gained = np.maximum(np.max(points.fakes - points.reals, axis=-1), 0.0)
    return _share(gained + points.real_total, points.fake_total + points.real_total)


def _average_precision(
    positives: Float[np.ndarray, "... points"], negatives: Float[np.ndarray, "... points"]
) -> Float[np.ndarray, ...]:
    seen = positives + negatives
    # a point without weight in a resample gains no recall: its precision may be anything finite
    precision = np.divide(positives, seen, out=np.zeros_like(seen), where=seen > 0)
    gained = np.diff(positives, axis=-1, prepend=0.0)
    return _share(np.sum(gained * precision, axis=-1), positives[..., -1])


def ap_fake(points: Curve) -> Float[np.ndarray, ...]:
    """Average precision with fake as the positive class: sum over points of (recall gained) x precision.

    Equal scores count as one point, without interpolation: scikit-learn's definition. NaN without fakes.
    """
    return _average_precision(points.fakes, points.reals)


def ap_real(points: Curve) -> Float[np.ndarray, ...]:
    """Average precision with real as the positive class, ranked by 1 - score; NaN without reals."""

    def from_below(upto: Float[np.ndarray, "... points"]) -> Float[np.ndarray, "... points"]:
        at_least = np.roll(upto, 1, axis=-1)
        at_least[..., 0] = 0.0
        return (upto[..., -1:] - at_least)[..., ::-1]

    return _average_precision(from_below(points.reals), from_below(points.fakes))


def auc(points: Curve) -> Float[np.ndarray, ...]:
    """Area under the ROC curve: chance that a fake outscores a real image, ties counting half."""
    fakes = np.diff(points.fakes, axis=-1, prepend=0.0)
    reals = np.diff(points.reals, axis=-1, prepend=0.0)
    below = points.reals[..., -1:] - points.reals
    won = np.sum(fakes * (below + reals / 2), axis=-1)
    return _share(won, points.fake_total * points.real_total)


def ece(
    labels: Int[np.ndarray, " images"],
    scores: Float[np.ndarray, " images"],
    weights: Float[np.ndarray, "... images"] | None = None,
    bins: int = 15,
) -> Float[np.ndarray, ...]:
    """Expected calibration error of p(fake): mean over bins of |share of fakes - mean score|, in [0, 1].

    Bins are equally wide in the score (Guo et al. 2017, equation 3, for the class fake rather than for the
    class called).
    """
    slot = np.minimum((scores * bins).astype(np.int64), bins - 1)
    members = (slot[:, None] == np.arange(bins)) * (labels - scores.astype(np.float64))[:, None]
    weighed = np.ones(len(scores)) if weights is None else weights
    gaps = np.abs(weighed @ members).sum(axis=-1)
    return _share(gaps, weighed.sum(axis=-1))


RANKED: dict[str, Callable[[Curve], Float[np.ndarray, ...]]] = {
    "ap_fake": ap_fake,
    "ap_real": ap_real,
    "auc": auc,
}
"""Metrics of the order of the scores alone."""

THRESHOLDED: dict[str, Callable[[Curve, float], Float[np.ndarray, ...]]] = {
    "accuracy": accuracy,
    "accuracy_real": accuracy_real,
    "accuracy_fake": accuracy_fake,
}
"""Metrics at a stated threshold."""

METRICS = (*THRESHOLDED, "accuracy_oracle", *RANKED, "ece")
"""Names of what :func:`measure` returns."""


def measure(
    labels: Int[np.ndarray, " images"],
    scores: Float[np.ndarray, " images"],
    threshold: float,
    weights: Float[np.ndarray, "... images"] | None = None,
) -> dict[str, Float[np.ndarray, ...]]:
    """All metrics of one set of scores, as fractions in [0, 1], in the order of :data:`METRICS`."""
    points = curve(labels, scores, weights)
    found = {name: metric(points, threshold) for name, metric in THRESHOLDED.items()}
    found["accuracy_oracle"] = accuracy_oracle(points)
    found |= {name: metric(points) for name, metric in RANKED.items()}
    return found | {"ece": ece(labels, scores, weights)}


def strata(
    subset: Int[np.ndarray, " rows"], image: Int[np.ndarray, " rows"], label: Int[np.ndarray, " images"]
) -> Int[np.ndarray, " images"]:
    """Number the groups within which images are resampled: one label, and the subsets that share such images.

    Subsets with the same real images make one group, so that a resample holds the same reals in each of them;
    subsets of their own images make groups of their own, which is the usual stratified bootstrap.

    Args:
        subset: number of the subset of each row, 0 .. subsets-1.
        image: number of the image of each row, 0 .. images-1.
        label: label of each image.
    """
    chief = np.arange(int(subset.max()) + 1)
    chiefs = {value: chief.copy() for value in (0, 1)}
    pairs = np.unique(np.stack([image, subset]), axis=1)
    same = pairs[0, 1:] == pairs[0, :-1]
    links = np.stack([label[pairs[0, 1:]], pairs[1, :-1], pairs[1, 1:]])[:, same]
    for value, one, other in np.unique(links, axis=1).T.tolist():
        group = chiefs[value]
        group[group == group[other]] = group[one]
    first = np.zeros(len(label), np.int64)
    first[image] = subset
    merged = np.where(label == 1, chiefs[1][first], chiefs[0][first])
    return np.unique(merged * 2 + label, return_inverse=True)[1]


def resampled(
    groups: Int[np.ndarray, " images"], resamples: int, generator: np.random.Generator
) -> Iterator[Float[np.ndarray, "block images"]]:
    """Yield how often each image occurs in each resample, block by block: Efron's bootstrap within groups."""
    members = [np.flatnonzero(groups == number) for number in range(int(groups.max()) + 1)]
    size = max(1, BLOCK // len(groups))
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        counts = np.empty((rows, len(groups)))
        for inside in members:
            n = len(inside)
            drawn = generator.integers(n, size=(rows, n)) + np.arange(rows)[:, None] * n
            counts[:, inside] = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        yield counts


def balanced(
    weights: Float[np.ndarray, "block images"], labels: Int[np.ndarray, " images"]
) -> Float[np.ndarray, "block images"]:
    """Scale each label's weights to its number of images: a resample keeps the subset's class balance.

    Changes nothing where all images of a group are in the subset. A resample without a class gives NaN.
    """
    scaled = np.empty_like(weights)
    for value in (0, 1):
        chosen = labels == value
        total = weights[:, chosen].sum(axis=1, keepdims=True)
        scaled[:, chosen] = weights[:, chosen] * _share(np.full_like(total, chosen.sum()), total)
    return scaled


def interval(values: Float[np.ndarray, " resamples"], level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled values; NaN values are left out, NaN ends when nothing is left."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Scored:
    """The scores of one checkpoint on one subset.

    Attributes:
        image: number of each row's image, so that subsets with a shared image share its resamples.
        labels: 0 real, 1 fake.
        scores: p(fake).
    """

    image: Int[np.ndarray, " rows"]
    labels: Int[np.ndarray, " rows"]
    scores: Float[np.ndarray, " rows"]


def bootstrap(
    sets: Sequence[Scored],
    groups: Int[np.ndarray, " images"],
    threshold: float,
    resamples: int,
    generator: np.random.Generator,
) -> list[dict[str, Float[np.ndarray, " resamples"]]]:
    """All metrics of each set of scores under the same resamples of the images.

    With the same resamples for every set, the mean over subsets, the mean over epochs and the difference of
    two detectors are plain means and differences of what this returns.

    Args:
        sets: one entry a subset, epoch or detector.
        groups: see :func:`strata`.
        threshold: of the accuracies.
        resamples: how many.
        generator: source of all draws.
    """
    blocks: list[list[dict[str, Float[np.ndarray, " block"]]]] = [[] for _ in sets]
    for counts in resampled(groups, resamples, generator):
        for found, one in zip(blocks, sets, strict=True):
            weights = balanced(counts[:, one.image], one.labels)
            found.append(measure(one.labels, one.scores, threshold, weights))
    return [{name: np.concatenate([part[name] for part in found]) for name in METRICS} for found in blocks]


def mcnemar(right: Int[np.ndarray, " images"], other_right: Int[np.ndarray, " images"]) -> float:
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
