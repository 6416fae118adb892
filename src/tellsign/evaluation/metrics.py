"""Numbers from scores alone: accuracy, average precision, AUC, calibration, intervals, paired tests.

Labels are 0 real and 1 fake, scores are p(fake) in [0, 1]. Every metric takes optional ``weights`` with any
leading axes (one row a bootstrap resample) and returns those axes: a thousand resamples cost one call.

Which class is positive matters for average precision and for nothing else here. MPFT and LoL write y = 1 for
real, public detectors mark fake as positive; both are computed.

A threshold is a number, or ``oracle``: the one that is best on these very images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

BLOCK = 2_000_000
"""Counts drawn at once (resamples x images), and pairs of images compared at once: bounds the memory."""

Threshold = float | Literal["oracle"]


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


def _called_fake(points: Curve, threshold: Threshold) -> tuple[Float[np.ndarray, ...], Float[np.ndarray, ...]]:
    """Weight of the fakes and of the reals with a score above the threshold."""
    if threshold == "oracle":  # of equally good ones the highest
        best = np.argmax(points.fakes - points.reals, axis=-1)[..., None]
        fakes, reals = (np.take_along_axis(upto, best, axis=-1)[..., 0] for upto in (points.fakes, points.reals))
        return np.where(fakes > reals, fakes, 0.0), np.where(fakes > reals, reals, 0.0)
    above = int(np.count_nonzero(points.thresholds > threshold))
    if above == 0:
        return np.zeros_like(points.fake_total), np.zeros_like(points.real_total)
    return points.fakes[..., above - 1], points.reals[..., above - 1]


def accuracy(points: Curve, threshold: Threshold) -> Float[np.ndarray, ...]:
    """Share of all images called rightly; fake means score > threshold, as public detectors call it."""
    fakes, reals = _called_fake(points, threshold)
    return _share(fakes + points.real_total - reals, points.fake_total + points.real_total)


def accuracy_real(points: Curve, threshold: Threshold) -> Float[np.ndarray, ...]:
    """Share of the real images called real; NaN without real images."""
    _, reals = _called_fake(points, threshold)
    return _share(points.real_total - reals, points.real_total)


def accuracy_fake(points: Curve, threshold: Threshold) -> Float[np.ndarray, ...]:
    """Share of the fake images called fake; NaN without fake images."""
    fakes, _ = _called_fake(points, threshold)
    return _share(fakes, points.fake_total)


def accuracy_oracle(points: Curve) -> Float[np.ndarray, ...]:
    """Highest accuracy that any threshold reaches on these very images.

    It looks at the test labels, so it is an upper bound and no result; LaRE2's public code reports it as its
    accuracy.
    """
    return accuracy(points, "oracle")


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


ECE_BINS = 15


def ece(
    labels: Int[np.ndarray, " images"],
    scores: Float[np.ndarray, " images"],
    weights: Float[np.ndarray, "... images"] | None = None,
    bins: int = ECE_BINS,
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

THRESHOLDED: dict[str, Callable[[Curve, Threshold], Float[np.ndarray, ...]]] = {
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
    threshold: Threshold,
    weights: Float[np.ndarray, "... images"] | None = None,
) -> dict[str, Float[np.ndarray, ...]]:
    """All metrics of one set of scores, as fractions in [0, 1], in the order of :data:`METRICS`."""
    points = curve(labels, scores, weights)
    found = {name: metric(points, threshold) for name, metric in THRESHOLDED.items()}
    found["accuracy_oracle"] = accuracy_oracle(points)
    found |= {name: metric(points) for name, metric in RANKED.items()}
    return found | {"ece": ece(labels, scores, weights)}


def called_fake(
    labels: Int[np.ndarray, " images"], scores: Float[np.ndarray, " images"], threshold: Threshold
) -> Int[np.ndarray, " images"]:
    """Which images are called fake."""
    if threshold != "oracle":
        return scores > threshold
    points = curve(labels, scores)
    best = int(np.argmax(points.fakes - points.reals))
    worth = points.fakes[best] > points.reals[best]
    return scores >= points.thresholds[best] if worth else np.zeros(len(scores), bool)


# ---------------------------------------------------------------------------------------------- batches


def _by_fake(labels: Int[np.ndarray, " images"]) -> list[Int[np.ndarray, " members"]]:
    return [np.flatnonzero(labels == value) for value in (0, 1)]


def drawn_batches(
    pools: Sequence[Int[np.ndarray, " members"]],
    size: int,
    sampler: Literal["balanced", "shuffled"],
    generator: np.random.Generator,
) -> Int[np.ndarray, "batches size"]:
    """Positions of the images of each batch; what does not fill a batch is left out.

    Args:
        pools: positions of the real and of the fake images.
        size: images in a batch.
        sampler: ``balanced`` draws with replacement, each label equally likely, as many images as there are
            (ForgeLens's public code); ``shuffled`` takes every image once.
        generator: source of the draws.

    Raises:
        ValueError: there are fewer images than a batch holds, or ``balanced`` lacks a label.
    """
    whole = sum(len(pool) for pool in pools) // size * size
    if whole == 0:
        raise ValueError(f"a batch of {size} images needs as many; there are {sum(len(pool) for pool in pools)}")
    if sampler == "shuffled":
        return generator.permutation(np.concatenate(pools))[:whole].reshape(-1, size)
    label = generator.integers(2, size=whole)
    of_each = [pool[generator.integers(len(pool), size=whole)] for pool in pools]
    return np.where(label == 1, of_each[1], of_each[0]).reshape(-1, size)


def measure_batches(
    labels: Int[np.ndarray, "batches size"], scores: Float[np.ndarray, "batches size"], threshold: Threshold
) -> dict[str, Float[np.ndarray, ""]]:
    """Plain means over batches of all metrics of each batch; a batch in which a metric is undefined has no say.

    Not the metric of the whole set: average precision of a few images is higher, and an oracle threshold of a
    few images much higher.
    """
    owner = np.zeros(len(labels), np.int64)
    return {name: held[0] for name, held in _means_of_batches(labels, scores, threshold, owner, 1).items()}


def _means_of_batches(
    labels: Int[np.ndarray, "batches size"],
    scores: Float[np.ndarray, "batches size"],
    threshold: Threshold,
    owner: Int[np.ndarray, " batches"],
    owners: int,
) -> dict[str, Float[np.ndarray, " owners"]]:
    """Plain means over each owner's batches."""
    step = max(1, BLOCK // labels.shape[1] ** 2)
    blocks = range(0, len(labels), step)
    parts = [_each_batch(labels[k : k + step], scores[k : k + step], threshold) for k in blocks]
    found = {}
    for name in METRICS:
        values = np.concatenate([part[name] for part in parts])
        known = np.isfinite(values)
        sums = np.bincount(owner[known], values[known], minlength=owners)
        found[name] = _share(sums, np.bincount(owner[known], minlength=owners))
    return found


def _each_batch(
    labels: Int[np.ndarray, "batches size"], scores: Float[np.ndarray, "batches size"], threshold: Threshold
) -> dict[str, Float[np.ndarray, " batches"]]:
    order = np.argsort(-scores, axis=1, kind="stable")  # so that of equally good thresholds the highest is found first
    labels, scores = np.take_along_axis(labels, order, axis=1), np.take_along_axis(scores, order, axis=1)
    fake, real = labels == 1, labels == 0
    fakes, reals = fake.sum(axis=1), real.sum(axis=1)
    both = fakes + reals
    at_least = scores[:, None, :] >= scores[:, :, None]  # [batch, j, i]: image i scores at least as high as image j
    fakes_above, above = (at_least & fake[:, None, :]).sum(axis=2), at_least.sum(axis=2)
    at_most = at_least.transpose(0, 2, 1)
    reals_below, below = (at_most & real[:, None, :]).sum(axis=2), at_most.sum(axis=2)
    ahead = fakes_above - (above - fakes_above)
    best = np.argmax(ahead, axis=1)[:, None]
    worth = np.take_along_axis(ahead, best, axis=1) > 0
    oracle = (scores >= np.take_along_axis(scores, best, axis=1)) & worth
    called = oracle if threshold == "oracle" else scores > threshold
    right = called == fake
    strictly = (~at_least & real[:, None, :]).sum(axis=2)  # reals that image j outscores
    level = (at_least & at_most & real[:, None, :]).sum(axis=2)
    slot = np.minimum((scores * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = labels - scores.astype(np.float64)
    return {
        "accuracy": right.mean(axis=1),
        "accuracy_real": _share((right & real).sum(axis=1), reals),
        "accuracy_fake": _share((right & fake).sum(axis=1), fakes),
        "accuracy_oracle": (oracle == fake).mean(axis=1),
        "ap_fake": _share((fakes_above / above * fake).sum(axis=1), fakes),
        "ap_real": _share((reals_below / below * real).sum(axis=1), reals),
        "auc": _share(((strictly + level / 2) * fake).sum(axis=1), fakes * reals),
        "ece": sum(np.abs((gap * (slot == k)).sum(axis=1)) for k in range(ECE_BINS)) / both,
    }


# ---------------------------------------------------------------------------------------------- resamples


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
) -> Iterator[Int[np.ndarray, "block images"]]:
    """Yield how often each image occurs in each resample, block by block: Efron's bootstrap within groups."""
    members = [np.flatnonzero(groups == number) for number in range(int(groups.max()) + 1)]
    size = max(1, BLOCK // len(groups))
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        counts = np.empty((rows, len(groups)), np.uint16)
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


class _Ranking:
    """A set of scores sorted once, for the metrics of many resamples of its images.

    The same numbers as :func:`measure` with weights, to about six digits: the resamples are the fast axis, counts
    are summed in single precision (exact up to 16 million images), and weights that balance the labels multiply
    the sums instead of each image.
    """

    def __init__(self, one: Scored, threshold: Threshold) -> None:
        real, fake = (rows[np.argsort(-one.scores[rows], kind="stable")] for rows in _by_fake(one.labels))
        self.fake, self.real, self.threshold = one.image[fake], one.image[real], threshold
        fakes, reals = -one.scores[fake], -one.scores[real]  # ascending, as searchsorted wants them
        self.fakes_to_fake = np.searchsorted(fakes, fakes, "right")  # fakes that score at least as high as each fake
        self.reals_to_fake = np.searchsorted(reals, fakes, "right")
        self.reals_over_fake = np.searchsorted(reals, fakes, "left")  # reals that score higher
        self.reals_over_real = np.searchsorted(reals, reals, "left")
        self.fakes_over_real = np.searchsorted(fakes, reals, "left")
        if threshold != "oracle":
            above = called_fake(one.labels, one.scores, threshold)
            self.above = [int(np.count_nonzero(above[rows])) for rows in (fake, real)]
        bins = np.arange(ECE_BINS)
        slots = np.minimum((one.scores * ECE_BINS).astype(np.int64), ECE_BINS - 1)
        gaps = (one.labels - one.scores.astype(np.float64)).astype(np.float32)
        members = (slots[:, None] == bins) * gaps[:, None]
        self.fake_gaps, self.real_gaps = members[fake].T, members[real].T

    def measure(self, counts: Int[np.ndarray, "images block"]) -> dict[str, Float[np.ndarray, " block"]]:
        """All metrics of each resample; NaN where a resample lacks a label that the metric needs."""
        drawn_fakes, drawn_reals = (counts.take(rows, axis=0).astype(np.float32) for rows in (self.fake, self.real))
        fakes, reals = _summed(drawn_fakes), _summed(drawn_reals)
        n_fakes, n_reals = len(drawn_fakes), len(drawn_reals)
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample without a label: infinity and NaN, as meant
            per_fake = np.where(fakes[-1] > 0, n_fakes / fakes[-1], np.nan).astype(np.float32)
            per_real = np.where(reals[-1] > 0, n_reals / reals[-1], np.nan).astype(np.float32)
        reals_to_fake = reals.take(self.reals_to_fake, axis=0)
        found_fakes, found_reals = fakes.take(self.fakes_to_fake, axis=0) * per_fake, reals_to_fake * per_real
        ahead = found_fakes - found_reals
        best = np.argmax(ahead, axis=0)[None]
        worth = np.take_along_axis(ahead, best, axis=0)[0] > 0
        at_best = [np.take_along_axis(found, best, axis=0)[0] * worth for found in (found_fakes, found_reals)]
        if self.threshold == "oracle":
            called_fakes, called_reals = at_best
        else:
            called_fakes, called_reals = fakes[self.above[0]] * per_fake, reals[self.above[1]] * per_real
        precision = found_fakes / np.maximum(found_fakes + found_reals, 1e-9)
        below_fake = reals[-1] - (reals_to_fake + reals.take(self.reals_over_fake, axis=0)) / 2
        left_reals = (reals[-1] - reals.take(self.reals_over_real, axis=0)) * per_real
        left_fakes = (fakes[-1] - fakes.take(self.fakes_over_real, axis=0)) * per_fake
        precision_real = left_reals / np.maximum(left_reals + left_fakes, 1e-9)
        n = n_fakes + n_reals
        gaps = self.fake_gaps @ drawn_fakes * per_fake + self.real_gaps @ drawn_reals * per_real
        return {
            "accuracy": (called_fakes + n_reals - called_reals) / n,
            "accuracy_real": 1 - called_reals / n_reals,
            "accuracy_fake": called_fakes / n_fakes,
            "accuracy_oracle": (at_best[0] + n_reals - at_best[1]) / n,
            "ap_fake": _weighed(precision, drawn_fakes) * per_fake / n_fakes,
            "ap_real": _weighed(precision_real, drawn_reals) * per_real / n_reals,
            "auc": _weighed(below_fake, drawn_fakes) * per_fake * per_real / (n_fakes * n_reals),
            "ece": np.abs(gaps).sum(axis=0) / n,
        }


def _summed(drawn: Float[np.ndarray, "rows block"]) -> Float[np.ndarray, "rows_and_one block"]:
    """Sums of the first 0, 1, 2, ... rows."""
    sums = np.zeros((len(drawn) + 1, drawn.shape[1]), np.float32)
    np.cumsum(drawn, axis=0, out=sums[1:])
    return sums


def _weighed(values: Float[np.ndarray, "rows block"], weights: Float[np.ndarray, "rows block"]) -> np.ndarray:
    """Sum over the rows, in double precision: a float32 sum of many rows loses digits."""
    return (values * weights).sum(axis=0, dtype=np.float64)


def _resampled_batches(
    one: Scored,
    threshold: Threshold,
    size: int,
    sampler: Literal["balanced", "shuffled"],
    counts: Int[np.ndarray, "images block"],
    generator: np.random.Generator,
) -> dict[str, Float[np.ndarray, " block"]]:
    drawn = []
    for count in counts[one.image].T:
        pools = [np.repeat(rows, count[rows]) for rows in _by_fake(one.labels)]
        drawn.append(drawn_batches(pools, size, sampler, generator))
    batches = np.concatenate(drawn)
    owner = np.repeat(np.arange(len(drawn)), [len(held) for held in drawn])
    return _means_of_batches(one.labels[batches], one.scores[batches], threshold, owner, len(drawn))


def bootstrap(
    sets: Sequence[Scored],
    groups: Int[np.ndarray, " images"],
    threshold: Threshold,
    resamples: int,
    generator: np.random.Generator,
    batch: int | None = None,
    sampler: Literal["balanced", "shuffled"] = "balanced",
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
        batch: mean over batches of so many images instead of the whole set (:func:`measure_batches`); each
            resample draws batches of its own, which takes about as long as 25 resamples without batches.
        sampler: see :func:`drawn_batches`.
    """
    blocks: list[list[dict[str, Float[np.ndarray, " block"]]]] = [[] for _ in sets]
    rankings = [_Ranking(one, threshold) for one in sets] if batch is None else []
    for drawn in resampled(groups, resamples, generator):
        counts = np.ascontiguousarray(drawn.T)
        for k, (found, one) in enumerate(zip(blocks, sets, strict=True)):
            if batch is None:
                found.append(rankings[k].measure(counts))
            else:
                found.append(_resampled_batches(one, threshold, batch, sampler, counts, generator))
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
