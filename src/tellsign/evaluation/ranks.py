"""Ranks of several detectors on the same images, with intervals: how often one is above another in a bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tellsign.errors import UserError
from tellsign.evaluation.matching import Aligned
from tellsign.evaluation.measuring import Scored, bootstrap, functions, interval, measure, strata
from tellsign.evaluation.tally import Threshold

if TYPE_CHECKING:
    from jaxtyping import Float

ONE_LABEL_IS_ENOUGH = ("accuracy",)
"""Metrics that are defined for images of one label."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A detector among others.

    Attributes:
        detector: What it is called.
        value, low, high: The metric (mean over subsets and seeds) and its 95 % interval over the test images.
        rank: By the metric itself, from 1; ties share the mean of their ranks.
        rank_low, rank_high: 95 % interval of its rank over the resamples.
        first: Share of the resamples in which no other is above it; a tie of n counts 1 / n.
        above: Share of the resamples in which it is above each of the others, in the order of the places; a tie counts
            one half.
    """

    detector: str
    value: float
    low: float
    high: float
    rank: float
    rank_low: float
    rank_high: float
    first: float
    above: tuple[float, ...]


def ranks(values: Float[np.ndarray, "detectors resamples"]) -> Float[np.ndarray, "detectors resamples"]:
    """Ranks from the highest value, 1; ties share the mean of their ranks."""
    above = (values[None] > values[:, None]).sum(axis=1)
    level = (values[None] == values[:, None]).sum(axis=1)
    return above + (level + 1) / 2


def shares_above(values: Float[np.ndarray, "detectors resamples"]) -> Float[np.ndarray, "detectors detectors"]:
    """In which share of the resamples the row's detector is above the column's; a tie counts one half."""
    return ((values[:, None] > values[None]) + (values[:, None] == values[None]) / 2).mean(axis=2)


def places(
    aligned: Aligned, metric: str, threshold: Threshold, resamples: int, generator: np.random.Generator
) -> list[Place]:
    """Rank detectors by the mean over subsets and seeds of a metric; every detector has the same resamples.

    Args:
        aligned: Their scores on the same images.
        metric: Name of a metric; higher is better.
        threshold: A score above it is called fake.
        resamples: Bootstrap resamples of the images, each label and subset as often as in the set.
        generator: Source of the resamples.

    Returns:
        Best first.

    Raises:
        UserError: an unknown metric, or one that a subset of one label has not.
    """
    metrics = functions([metric])
    parts = [np.flatnonzero(aligned.subset == number) for number in range(len(aligned.subsets))]
    for name, rows in zip(aligned.subsets, parts, strict=True):
        if metric not in ONE_LABEL_IS_ENOUGH and len(np.unique(aligned.label[rows])) < 2:
            raise UserError(f"{name} has images of one label only, which have no {metric}. Rank by accuracy.")
    own = {
        name: [(rows, scores[rows]) for scores in by_seed.values() for rows in parts]
        for name, by_seed in aligned.scores.items()
    }
    values = [
        np.mean([measure(aligned.label[rows], s, threshold, metrics=metrics)[metric] for rows, s in sets])
        for sets in own.values()
    ]
    drawn = _drawn(aligned, list(own.values()), metric, threshold, resamples, generator)
    return _places(list(own), np.array(values), drawn)


def _drawn(
    aligned: Aligned,
    sets: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]],
    metric: str,
    threshold: Threshold,
    resamples: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, "detectors resamples"]:
    """The metric of each detector in each resample, the mean over its sets of rows and scores."""
    label = np.zeros(int(aligned.image.max()) + 1, np.int64)
    label[aligned.image] = aligned.label
    scored = [Scored(aligned.image[rows], aligned.label[rows], s) for own in sets for rows, s in own]
    groups = strata(aligned.subset, aligned.image, label)
    draws = bootstrap(scored, groups, threshold, resamples, generator, metrics=functions([metric]))
    ends = np.cumsum([len(own) for own in sets])[:-1]
    return np.stack([part.mean(axis=0) for part in np.split(np.stack([one[metric] for one in draws]), ends)])


def _places(
    names: Sequence[str],
    values: Float[np.ndarray, " detectors"],
    drawn: Float[np.ndarray, "detectors resamples"],
) -> list[Place]:
    order = np.argsort(-values, kind="stable")
    values, drawn = values[order], drawn[order]
    rank, above = ranks(values[:, None])[:, 0], shares_above(drawn)
    best = drawn == drawn.max(axis=0)
    first = (best / best.sum(axis=0)).mean(axis=1)
    found = []
    for k, (one, its_ranks) in enumerate(zip(drawn, ranks(drawn), strict=True)):
        (low, high), (rank_low, rank_high) = interval(one), interval(its_ranks)
        found.append(
            Place(
                detector=names[int(order[k])], value=float(values[k]), low=low, high=high, rank=float(rank[k]),
                rank_low=rank_low, rank_high=rank_high, first=float(first[k]), above=tuple(above[k].tolist()),
            )
        )  # fmt: skip
    return found
