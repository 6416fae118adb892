"""Which of two detectors is better on the same images: differences with intervals, and McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tellsign.evaluation.comparisons import called_fake, mcnemar
from tellsign.evaluation.matching import Matched
from tellsign.evaluation.measuring import Scored, bootstrap, functions, interval, measure, strata
from tellsign.evaluation.tally import Threshold

if TYPE_CHECKING:
    from jaxtyping import Float, Int

METRICS = ("accuracy", "auc", "ap_fake")
"""What is compared, of `tellsign.evaluation.metrics.METRICS`; of images of one label only accuracy."""

MEAN, POOLED = "mean over subsets", "all images pooled"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric of two detectors on the same images; metrics are fractions.

    Attributes:
        subset: A subset's name, `MEAN` or `POOLED`.
        seed: Of both trainings; None for the mean over seeds.
        metric: Its name.
        n_real, n_fake: Numbers of distinct images.
        first, second: The metric of each.
        difference: First less second.
        low, high: 95 % interval of the difference over test images, by the paired bootstrap.
        only_first, only_second: Images that only one of the two calls rightly; None where there is no count.
        p: Exact McNemar test that both err equally often; None where there is none.
        p_holm: The same, corrected for the number of subsets by Holm's method.
    """

    subset: str
    seed: int | None
    metric: str
    n_real: int
    n_fake: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    only_first: int | None = None
    only_second: int | None = None
    p: float | None = None
    p_holm: float | None = None


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that bound the chance of any false finding among several tests.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    order = np.argsort(p_values, kind="stable")
    stepped = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted.tolist()


def differences(
    matched: Matched, threshold: Threshold, resamples: int, generator: np.random.Generator
) -> list[Difference]:
    """Compare two detectors by subset, over the mean of subsets, and over all images pooled.

    Pooled, an image of several subsets counts once. There is no such line where a detector gives it several scores
    (a model for each subset), and neither line where there is one subset.

    Args:
        matched: Their scores on the same images, of the same seeds.
        threshold: A score above it is called fake.
        resamples: Bootstrap resamples of the images.
        generator: Source of the resamples; both detectors and all seeds have the same.

    Returns:
        By subset, metric and seed; the mean over seeds comes last of each.
    """
    parts = {name: np.flatnonzero(matched.subset == number) for number, name in enumerate(matched.subsets)}
    several = len(parts) > 1
    if several and (once := _each_image_once(matched)) is not None:
        parts[POOLED] = once
    draws = _drawn(matched, list(parts.values()), threshold, resamples, generator)
    found: list[Difference] = []
    averaged: dict[tuple[str, int], list[tuple[Difference, np.ndarray]]] = {}
    for k, (name, rows) in enumerate(parts.items()):
        for metric in METRICS if len(np.unique(matched.label[rows])) == 2 else METRICS[:1]:
            held = []
            for seed in matched.first:
                drawn = draws[seed, 0, k][metric] - draws[seed, 1, k][metric]
                line = _line(matched, name, rows, seed, metric, threshold)
                held.append((_with_interval(line, drawn), drawn))
                if name != POOLED:
                    averaged.setdefault((metric, seed), []).append(held[-1])
            found += _with_mean_over_seeds(held)
    if several:
        found += _over_subsets(matched, averaged, len(matched.subsets))
    return _with_holm(found)


def _each_image_once(matched: Matched) -> Int[np.ndarray, " images"] | None:
    """A row of each image; None where rows of one image have different scores."""
    once, number = np.unique(matched.image, return_index=True, return_inverse=True)[1:]
    everything = [*matched.first.values(), *matched.second.values()]
    same = all(np.array_equal(scores[once][number], scores) for scores in everything)
    return once if same else None


def _drawn(
    matched: Matched,
    parts: Sequence[Int[np.ndarray, " rows"]],
    threshold: Threshold,
    resamples: int,
    generator: np.random.Generator,
) -> dict[tuple[int, int, int], dict[str, Float[np.ndarray, " resamples"]]]:
    """Resampled metrics by seed, detector (0, 1) and part, all under the same resamples."""
    label = np.zeros(int(matched.image.max()) + 1, np.int64)
    label[matched.image] = matched.label
    sets = {
        (seed, side, k): Scored(matched.image[rows], matched.label[rows], scores[rows])
        for side, by_seed in enumerate((matched.first, matched.second))
        for seed, scores in by_seed.items()
        for k, rows in enumerate(parts)
    }
    groups = strata(matched.subset, matched.image, label)
    metrics = functions(METRICS)
    return dict(
        zip(sets, bootstrap(list(sets.values()), groups, threshold, resamples, generator, metrics=metrics), strict=True)
    )


def _line(
    matched: Matched, name: str, rows: Int[np.ndarray, " rows"], seed: int, metric: str, threshold: Threshold
) -> Difference:
    """A metric of both detectors at one seed, without its interval."""
    labels = matched.label[rows]
    scores = [by_seed[seed][rows] for by_seed in (matched.first, matched.second)]
    first, second = (float(measure(labels, one, threshold, metrics=functions([metric]))[metric]) for one in scores)
    n_fake = int(labels.sum())
    line = Difference(
        subset=name, seed=seed, metric=metric, n_real=len(labels) - n_fake, n_fake=n_fake,
        first=first, second=second, difference=first - second, low=math.nan, high=math.nan,
    )  # fmt: skip
    if metric != "accuracy":
        return line
    right, other_right = (called_fake(labels, one, threshold) == (labels == 1) for one in scores)
    return replace(
        line,
        only_first=int(np.count_nonzero(right & ~other_right)),
        only_second=int(np.count_nonzero(other_right & ~right)),
        p=mcnemar(right, other_right),
    )


def _with_interval(line: Difference, drawn: Float[np.ndarray, " resamples"]) -> Difference:
    low, high = interval(drawn)
    return replace(line, low=low, high=high)


def _averaged(
    lines: Sequence[tuple[Difference, Float[np.ndarray, " resamples"]]], **change: object
) -> tuple[Difference, Float[np.ndarray, " resamples"]]:
    """The mean of lines and of their resamples; a p-value has no mean."""
    drawn = np.mean([one for _, one in lines], axis=0)
    first, second = (float(np.mean([getattr(line, side) for line, _ in lines])) for side in ("first", "second"))
    uncounted = {"only_first": None, "only_second": None, "p": None}
    means = {"first": first, "second": second, "difference": first - second}
    return _with_interval(replace(lines[0][0], **{**means, **uncounted, **change}), drawn), drawn


def _with_mean_over_seeds(
    lines: Sequence[tuple[Difference, Float[np.ndarray, " resamples"]]],
) -> list[Difference]:
    return [*(line for line, _ in lines), _averaged(lines, seed=None)[0]]


def _over_subsets(
    matched: Matched,
    lines: dict[tuple[str, int], list[tuple[Difference, Float[np.ndarray, " resamples"]]]],
    subsets: int,
) -> list[Difference]:
    """The plain mean over subsets of each metric that all of them have, by seed."""
    once = np.unique(matched.image, return_index=True)[1]
    n_fake = int(matched.label[once].sum())
    counts = {"subset": MEAN, "n_real": len(once) - n_fake, "n_fake": n_fake}
    found = []
    for metric in METRICS:
        held = [_averaged(own, **counts) for (name, _), own in lines.items() if name == metric and len(own) == subsets]
        found += _with_mean_over_seeds(held) if held else []
    return found


def _with_holm(lines: Sequence[Difference]) -> list[Difference]:
    """The lines of subsets with p-values corrected for how many subsets there are, seed by seed."""
    corrected = {}
    for seed in {line.seed for line in lines if line.p is not None}:
        tests = [line for line in lines if line.seed == seed and line.p is not None and line.subset != POOLED]
        adjusted = holm([line.p for line in tests if line.p is not None])
        corrected |= {(line.subset, seed): p for line, p in zip(tests, adjusted, strict=True)}
    return [
        replace(line, p_holm=corrected.get((line.subset, line.seed))) if line.p is not None else line for line in lines
    ]
