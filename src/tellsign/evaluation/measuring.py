"""Metrics of a set of scores, of batches of it, and of resamples of its images.

Which class is positive matters for average precision and for nothing else here. MPFT and LoL write y = 1 for
real, public detectors mark fake as positive; both are computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tellsign.evaluation.metrics import METRICS
from tellsign.evaluation.tally import Numbers, Ranking, Tally, Threshold, of_batches, of_set, share

if TYPE_CHECKING:
    from jaxtyping import Float, Int

BLOCK = 2_000_000
"""Counts drawn at once (resamples x images), and pairs of images compared at once: bounds the memory."""

Functions = Mapping[str, Callable[[Tally], Numbers]]
"""Metric name to the function that computes it."""


def functions(names: Sequence[str] = tuple(METRICS)) -> Functions:
    """The functions of metrics, by name, in the order in which they are named.

    Raises:
        UserError: an unknown name, with the near miss.
    """
    return {name: METRICS.load(name) for name in names}


def measure(
    labels: Int[np.ndarray, " images"],
    scores: Float[np.ndarray, " images"],
    threshold: Threshold,
    weights: Float[np.ndarray, "... images"] | None = None,
    metrics: Functions | None = None,
) -> dict[str, Numbers]:
    """Metrics of one set of scores.

    Args:
        labels: 0 real, 1 fake.
        scores: p(fake).
        threshold: Of the accuracies.
        weights: Of the images, with any leading axes (one row a resample), which the metrics keep.
        metrics: Which metrics; all without.
    """
    tally = of_set(labels, scores, threshold, weights)
    return {name: metric(tally) for name, metric in (metrics or functions()).items()}


# ---------------------------------------------------------------------------------------------- batches


def of_each_label(labels: Int[np.ndarray, " images"]) -> list[Int[np.ndarray, " members"]]:
    """Positions of the real and of the fake images."""
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
    labels: Int[np.ndarray, "batches size"],
    scores: Float[np.ndarray, "batches size"],
    threshold: Threshold,
    metrics: Functions | None = None,
) -> dict[str, Numbers]:
    """Plain means over batches of the metrics of each batch; a batch in which a metric is undefined has no say.

    Not the metric of the whole set: average precision of a few images is higher, and an oracle threshold of a
    few images much higher.
    """
    owner = np.zeros(len(labels), np.int64)
    means = _means_of_batches(labels, scores, threshold, metrics or functions(), owner, 1)
    return {name: of_owners[0] for name, of_owners in means.items()}


def _means_of_batches(
    labels: Int[np.ndarray, "batches size"],
    scores: Float[np.ndarray, "batches size"],
    threshold: Threshold,
    metrics: Functions,
    owner: Int[np.ndarray, " batches"],
    owners: int,
) -> dict[str, Float[np.ndarray, " owners"]]:
    """Plain means over each owner's batches."""
    step = max(1, BLOCK // labels.shape[1] ** 2)
    parts: list[dict[str, Float[np.ndarray, " part"]]] = []
    for k in range(0, len(labels), step):
        tally = of_batches(labels[k : k + step], scores[k : k + step], threshold)
        parts.append({name: metric(tally) for name, metric in metrics.items()})
    means = {}
    for name in metrics:
        values = np.concatenate([part[name] for part in parts])
        known = np.isfinite(values)
        sums = np.bincount(owner[known], values[known], minlength=owners)
        means[name] = share(sums, np.bincount(owner[known], minlength=owners))
    return means


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
    for rows in of_each_label(labels):
        total = weights[:, rows].sum(axis=1, keepdims=True)
        scaled[:, rows] = weights[:, rows] * share(np.full_like(total, len(rows)), total)
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


def _resampled_batches(
    one: Scored,
    threshold: Threshold,
    metrics: Functions,
    size: int,
    sampler: Literal["balanced", "shuffled"],
    counts: Int[np.ndarray, "images block"],
    generator: np.random.Generator,
) -> dict[str, Float[np.ndarray, " block"]]:
    drawn = []
    for count in counts[one.image].T:
        pools = [np.repeat(rows, count[rows]) for rows in of_each_label(one.labels)]
        drawn.append(drawn_batches(pools, size, sampler, generator))
    batches = np.concatenate(drawn)
    owner = np.repeat(np.arange(len(drawn)), [len(of_resample) for of_resample in drawn])
    return _means_of_batches(one.labels[batches], one.scores[batches], threshold, metrics, owner, len(drawn))


def bootstrap(
    sets: Sequence[Scored],
    groups: Int[np.ndarray, " images"],
    threshold: Threshold,
    resamples: int,
    generator: np.random.Generator,
    batch: int | None = None,
    sampler: Literal["balanced", "shuffled"] = "balanced",
    metrics: Functions | None = None,
) -> list[dict[str, Float[np.ndarray, " resamples"]]]:
    """Metrics of each set of scores under the same resamples of the images.

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
        metrics: which metrics; all without.
    """
    metrics = metrics or functions()
    blocks: list[list[dict[str, Float[np.ndarray, " block"]]]] = [[] for _ in sets]
    # a ranking compares fakes with reals: it needs both
    rankings = [
        Ranking(one.image, one.labels, one.scores, threshold)
        if batch is None and len(np.unique(one.labels)) > 1
        else None
        for one in sets
    ]
    for drawn in resampled(groups, resamples, generator):
        counts = np.ascontiguousarray(drawn.T)
        for k, (one, ranking) in enumerate(zip(sets, rankings, strict=True)):
            if batch is None:
                tally = (
                    ranking.tally(counts)
                    if ranking
                    else of_set(one.labels, one.scores, threshold, drawn[:, one.image].astype(np.float64))
                )
                blocks[k].append({name: metric(tally) for name, metric in metrics.items()})
            else:
                blocks[k].append(_resampled_batches(one, threshold, metrics, batch, sampler, counts, generator))
    return [{name: np.concatenate([part[name] for part in parts]) for name in metrics} for parts in blocks]
