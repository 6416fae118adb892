"""Counts of fakes and reals at every operating point: the intermediate that every metric is a function of.

Labels are 0 real and 1 fake, scores are p(fake) in [0, 1]. One :class:`Tally` describes one set of images, or many at
once: each resample or batch is an entry of an axis that the metrics keep. It is made in three ways, because the fastest
one depends on what there are many of:

* :func:`of_set`: a set of images, perhaps under many weights;
* :func:`of_batches`: many small sets, by comparing every pair of images;
* :class:`Ranking`: many resamples of one set, sorted once.

A threshold is a number, or ``oracle``: the one that is best on these very images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

    Numbers = Float[np.ndarray, "..."]
    """One number a set, batch or resample."""
    PerImage = Callable[[Int[np.ndarray, "... images"], Float[np.ndarray, "... images"]], Float[np.ndarray, "..."]]
    """From labels and scores, rows of numbers of each image: ``rows ... images``."""
else:
    Numbers = PerImage = Any

Threshold = float | Literal["oracle"]

TINY = 1e-9
"""Less than any weight; keeps a point without weight, whose precision does not matter, from dividing by 0."""


@dataclass(frozen=True)
class Called:
    """Weight of the fakes and of the reals that are called fake."""

    fakes: Numbers
    reals: Numbers


@dataclass(frozen=True)
class Ranked:
    """The images in the order in which one class, taken as positive, is found.

    Attributes:
        own: Weight of the positive images ranked at least as high as each point; images of equal score share a rank.
        other: The same of the negative images.
        weight: Weight of the positive images at each point, before scaling.
        scale: Factor that gives the positive images their whole weight.
        axis: Which axis the points are.
    """

    own: Shaped[np.ndarray, ...]
    other: Shaped[np.ndarray, ...]
    weight: Shaped[np.ndarray, ...]
    scale: Numbers | float
    axis: int

    def total(self, values: Shaped[np.ndarray, ...]) -> Numbers:
        """Sum of the points' values by weight, in double precision: a sum of many float32 loses digits."""
        return (values * self.weight).sum(axis=self.axis, dtype=np.float64) * self.scale


@dataclass(frozen=True)
class Tally:
    """Weights of the images of one or many sets.

    Attributes:
        fakes: All fakes.
        reals: All reals.
        called: What is called fake at the stated threshold.
        called_by_oracle: What is called fake at the best one, of equally good ones the highest.
        from_above: Fakes as the positive class, from the highest score down.
        from_below: Reals as the positive class, from the lowest score up.
        outscored: At each point of ``from_above``, the reals of lower score and half of those of equal score, before
            scaling.
        real_scale: Factor that gives the reals their whole weight.
        axis: Which axis is summed over: points, or the rows of ``sums``.
        sums: Sums over the images of any function of labels and scores, one of each of its rows.
    """

    fakes: Numbers | int
    reals: Numbers | int
    called: Called
    called_by_oracle: Called
    from_above: Ranked
    from_below: Ranked
    outscored: Shaped[np.ndarray, ...]
    real_scale: Numbers | float
    axis: int
    sums: Callable[[PerImage], Numbers]


def share(part: Numbers, whole: Numbers | int) -> Numbers:
    """``part / whole``; NaN where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def average_precision(ranked: Ranked, whole: Numbers | int) -> Numbers:
    """Sum over points of (recall gained) x precision.

    Images of equal score count as one point, without interpolation: scikit-learn's definition. NaN without positives.
    """
    precision = ranked.own / np.maximum(ranked.own + ranked.other, TINY)
    return share(ranked.total(precision), whole)


# ---------------------------------------------------------------------------------------------- one set


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


def of_set(
    labels: Int[np.ndarray, " images"],
    scores: Float[np.ndarray, " images"],
    threshold: Threshold,
    weights: Float[np.ndarray, "... images"] | None = None,
) -> Tally:
    """Tally one set; leading axes of ``weights`` (one row a resample) are kept.

    Raises:
        ValueError: no image at all.
    """
    points = curve(labels, scores, weights)
    fakes, reals = points.fakes[..., -1], points.reals[..., -1]
    best = _called_by_oracle(points)
    fakes_here, reals_here = (np.diff(upto, axis=-1, prepend=0.0) for upto in (points.fakes, points.reals))
    fakes_below, reals_below = _from_below(points.fakes), _from_below(points.reals)
    weighed = np.ones(len(scores)) if weights is None else weights
    return Tally(
        fakes=fakes,
        reals=reals,
        called=best if threshold == "oracle" else _called_above(points, threshold),
        called_by_oracle=best,
        from_above=Ranked(points.fakes, points.reals, fakes_here, 1.0, -1),
        from_below=Ranked(reals_below, fakes_below, np.diff(reals_below, axis=-1, prepend=0.0), 1.0, -1),
        outscored=reals[..., None] - points.reals + reals_here / 2,
        real_scale=1.0,
        axis=-1,
        sums=lambda values: weighed @ values(labels, scores).T,
    )


def _from_below(upto: Float[np.ndarray, "... points"]) -> Float[np.ndarray, "... points"]:
    """Weight at or below each threshold, from the lowest score up."""
    above = np.roll(upto, 1, axis=-1)
    above[..., 0] = 0.0
    return (upto[..., -1:] - above)[..., ::-1]


def _called_by_oracle(points: Curve) -> Called:
    best = np.argmax(points.fakes - points.reals, axis=-1)[..., None]
    fakes, reals = (np.take_along_axis(upto, best, axis=-1)[..., 0] for upto in (points.fakes, points.reals))
    return Called(np.where(fakes > reals, fakes, 0.0), np.where(fakes > reals, reals, 0.0))


def _called_above(points: Curve, threshold: float) -> Called:
    above = int(np.count_nonzero(points.thresholds > threshold))
    if above == 0:
        return Called(np.zeros_like(points.fakes[..., -1]), np.zeros_like(points.reals[..., -1]))
    return Called(points.fakes[..., above - 1], points.reals[..., above - 1])


# ---------------------------------------------------------------------------------------------- many small sets


def of_batches(
    labels: Int[np.ndarray, "batches size"], scores: Float[np.ndarray, "batches size"], threshold: Threshold
) -> Tally:
    """Tally each batch, by comparing every pair of its images."""
    order = np.argsort(-scores, axis=1, kind="stable")  # so that of equally good thresholds the highest is found first
    labels, scores = np.take_along_axis(labels, order, axis=1), np.take_along_axis(scores, order, axis=1)
    fake, real = labels == 1, labels == 0
    at_least = scores[:, None, :] >= scores[:, :, None]  # [batch, j, i]: image i scores at least as high as image j
    at_most = at_least.transpose(0, 2, 1)
    fakes_above, above = (at_least & fake[:, None, :]).sum(axis=2), at_least.sum(axis=2)
    reals_below, below = (at_most & real[:, None, :]).sum(axis=2), at_most.sum(axis=2)
    outscored = (~at_least & real[:, None, :]).sum(axis=2)
    level = (at_least & at_most & real[:, None, :]).sum(axis=2)
    reals_above = above - fakes_above
    ahead = fakes_above - reals_above
    best = np.argmax(ahead, axis=1)[:, None]
    worth = np.take_along_axis(ahead, best, axis=1) > 0
    by_oracle = (scores >= np.take_along_axis(scores, best, axis=1)) & worth
    called = by_oracle if threshold == "oracle" else scores > threshold

    def sums(values: PerImage) -> Numbers:
        return np.moveaxis(values(labels, scores).sum(axis=-1), 0, -1)

    return Tally(
        fakes=fake.sum(axis=1),
        reals=real.sum(axis=1),
        called=Called((called & fake).sum(axis=1), (called & real).sum(axis=1)),
        called_by_oracle=Called((by_oracle & fake).sum(axis=1), (by_oracle & real).sum(axis=1)),
        from_above=Ranked(fakes_above, reals_above, fake, 1.0, 1),
        from_below=Ranked(reals_below, below - reals_below, real, 1.0, 1),
        outscored=outscored + level / 2,
        real_scale=1.0,
        axis=1,
        sums=sums,
    )


# ---------------------------------------------------------------------------------------------- many resamples


class Ranking:
    """A set of scores sorted once, to tally many resamples of its images.

    The same numbers as :func:`of_set` with weights, to about six digits: the resamples are the fast axis, counts
    are summed in single precision (exact up to 16 million images), and weights that balance the labels multiply
    the sums instead of each image.

    Args:
        image: Number of each row's image.
        labels: 0 real, 1 fake.
        scores: p(fake).
        threshold: Of the accuracies.
    """

    def __init__(
        self,
        image: Int[np.ndarray, " rows"],
        labels: Int[np.ndarray, " rows"],
        scores: Float[np.ndarray, " rows"],
        threshold: Threshold,
    ) -> None:
        real, fake = (
            rows[np.argsort(-scores[rows], kind="stable")] for rows in (np.flatnonzero(labels == y) for y in (0, 1))
        )
        self.labels, self.scores, self.threshold = labels, scores, threshold
        self.fake_rows, self.real_rows = fake, real
        self.fake_images, self.real_images = image[fake], image[real]
        fakes, reals = -scores[fake], -scores[real]  # ascending, as searchsorted wants them
        self.fakes_to_fake = np.searchsorted(fakes, fakes, "right")  # fakes that score at least as high as each fake
        self.reals_to_fake = np.searchsorted(reals, fakes, "right")
        self.reals_over_fake = np.searchsorted(reals, fakes, "left")  # reals that score higher
        self.reals_over_real = np.searchsorted(reals, reals, "left")
        self.fakes_over_real = np.searchsorted(fakes, reals, "left")
        if threshold != "oracle":
            self.fakes_called, self.reals_called = (
                int(np.count_nonzero(scores[rows] > threshold)) for rows in (fake, real)
            )
        self._values: dict[PerImage, tuple[np.ndarray, np.ndarray]] = {}

    def _at_images(self, values: PerImage) -> tuple[Float[np.ndarray, "rows fakes"], Float[np.ndarray, "rows reals"]]:
        """A function of labels and scores at each fake and each real, in single precision; computed once."""
        if values not in self._values:
            of_images = values(self.labels, self.scores).astype(np.float32)
            self._values[values] = of_images[:, self.fake_rows], of_images[:, self.real_rows]
        return self._values[values]

    def tally(self, counts: Int[np.ndarray, "images block"]) -> Tally:
        """Tally each resample; NaN where a resample lacks a label that a number needs."""
        drawn_fakes, drawn_reals = (
            counts.take(rows, axis=0).astype(np.float32) for rows in (self.fake_images, self.real_images)
        )
        fakes, reals = _summed(drawn_fakes), _summed(drawn_reals)
        n_fakes, n_reals = len(drawn_fakes), len(drawn_reals)
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample without a label: infinity and NaN, as meant
            per_fake = np.where(fakes[-1] > 0, n_fakes / fakes[-1], np.nan).astype(np.float32)
            per_real = np.where(reals[-1] > 0, n_reals / reals[-1], np.nan).astype(np.float32)
        reals_to_fake = reals.take(self.reals_to_fake, axis=0)
        fakes_above, reals_above = fakes.take(self.fakes_to_fake, axis=0) * per_fake, reals_to_fake * per_real
        ahead = fakes_above - reals_above
        best = np.argmax(ahead, axis=0)[None]
        worth = np.take_along_axis(ahead, best, axis=0)[0] > 0
        at_best = (np.take_along_axis(above, best, axis=0)[0] * worth for above in (fakes_above, reals_above))
        by_oracle = Called(*at_best)
        if self.threshold == "oracle":
            called = by_oracle
        else:
            called = Called(fakes[self.fakes_called] * per_fake, reals[self.reals_called] * per_real)
        reals_below = (reals[-1] - reals.take(self.reals_over_real, axis=0)) * per_real
        fakes_below = (fakes[-1] - fakes.take(self.fakes_over_real, axis=0)) * per_fake

        def sums(values: PerImage) -> Numbers:
            of_fakes, of_reals = self._at_images(values)
            return of_fakes @ drawn_fakes * per_fake + of_reals @ drawn_reals * per_real

        return Tally(
            fakes=n_fakes,
            reals=n_reals,
            called=called,
            called_by_oracle=by_oracle,
            from_above=Ranked(fakes_above, reals_above, drawn_fakes, per_fake, 0),
            from_below=Ranked(reals_below, fakes_below, drawn_reals, per_real, 0),
            outscored=reals[-1] - (reals_to_fake + reals.take(self.reals_over_fake, axis=0)) / 2,
            real_scale=per_real,
            axis=0,
            sums=sums,
        )


def _summed(drawn: Float[np.ndarray, "rows block"]) -> Float[np.ndarray, "rows_and_one block"]:
    """Sums of the first 0, 1, 2, ... rows."""
    sums = np.zeros((len(drawn) + 1, drawn.shape[1]), np.float32)
    np.cumsum(drawn, axis=0, out=sums[1:])
    return sums
