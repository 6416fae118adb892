"""Detectors' scores of a test set, brought to the same images; what only some of them have is kept apart."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tellsign.errors import UserError
from tellsign.evaluation.listing import ScoreRows

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Place = tuple[str, str]
"""A subset, and the id of an image in it."""


@dataclass(frozen=True)
class Matched:
    """The images that two detectors scored, and their scores in the same order.

    Attributes:
        subsets: Names of the subsets that the two share, in order of first appearance.
        subset: Number of each row's subset.
        image: Number of each row's image, 0 .. images-1; an image may stand in several subsets.
        label: 0 real, 1 fake.
        first, second: p(fake) of each row, by seed.
        only_first, only_second: What only one of the two scored.
    """

    subsets: list[str]
    subset: Int[np.ndarray, " rows"]
    image: Int[np.ndarray, " rows"]
    label: Int[np.ndarray, " rows"]
    first: Mapping[int, Float[np.ndarray, " rows"]]
    second: Mapping[int, Float[np.ndarray, " rows"]]
    only_first: list[Place]
    only_second: list[Place]


@dataclass(frozen=True)
class Aligned:
    """The images that all of several detectors scored, and their scores in the same order.

    Attributes:
        subsets: Names of the subsets, in order of first appearance.
        subset: Number of each row's subset.
        image: Number of each row's image, 0 .. images-1; an image may stand in several subsets.
        label: 0 real, 1 fake.
        scores: p(fake) of each row, by detector and seed.
        left_out: How many rows of each detector some other has not.
    """

    subsets: list[str]
    subset: Int[np.ndarray, " rows"]
    image: Int[np.ndarray, " rows"]
    label: Int[np.ndarray, " rows"]
    scores: dict[str, dict[int, Float[np.ndarray, " rows"]]]
    left_out: dict[str, int]


@dataclass(frozen=True)
class _Side:
    """One detector's rows: keys ascending, labels, scores by seed."""

    keys: Int[np.ndarray, " rows"]
    labels: Int[np.ndarray, " rows"]
    scores: dict[int, Float[np.ndarray, " rows"]]


def short(image: str) -> str:
    """An image's id for messages: a digest of its bytes by its first digits, anything else as it is."""
    return image[:12] if len(image) == 64 else image


def match(first: ScoreRows, second: ScoreRows, names: tuple[str, str]) -> Matched:
    """Match two detectors' rows by subset and image; of each seed the last epoch counts.

    Args:
        first, second: Scores of the same test set and of the same seeds.
        names: What messages call the two.

    Raises:
        UserError: a score is no probability, an image has several scores or labels, seeds of one detector have other
            images, or no image has scores of both.
    """
    subsets = list(dict.fromkeys([*first.subsets, *second.subsets]))
    images = list(dict.fromkeys([*first.images, *second.images]))
    one, other = (_side(rows, subsets, images, name) for rows, name in zip((first, second), names, strict=True))
    keys, at, other_at = np.intersect1d(one.keys, other.keys, assume_unique=True, return_indices=True)
    if not len(keys):
        raise UserError(
            f"{names[0]} and {names[1]} share no image: {len(one.keys)} and {len(other.keys)} scored images, none "
            "under the same subset and id. Were the same files scored?"
        )
    apart = np.flatnonzero(one.labels[at] != other.labels[other_at])
    if len(apart):
        subset, image = divmod(int(keys[apart[0]]), len(images))
        raise UserError(
            f"{len(apart)} images have one label in {names[0]} and the other in {names[1]}, first "
            f"{subsets[subset]}/{short(images[image])}. Give both the same labels: 0 real, 1 fake."
        )
    return Matched(
        **_numbered(keys, subsets, images),
        label=one.labels[at],
        first={seed: scores[at] for seed, scores in one.scores.items()},
        second={seed: scores[other_at] for seed, scores in other.scores.items()},
        only_first=_places(np.setdiff1d(one.keys, keys), subsets, images),
        only_second=_places(np.setdiff1d(other.keys, keys), subsets, images),
    )


def align(detectors: Mapping[str, ScoreRows]) -> Aligned:
    """Bring several detectors' rows to the same subsets and images; of each seed the last epoch counts.

    Args:
        detectors: Scores of the same test set, by what messages call each detector.

    Raises:
        UserError: as `match`, of any of them; or labels that differ.
    """
    subsets = list(dict.fromkeys(name for rows in detectors.values() for name in rows.subsets))
    images = list(dict.fromkeys(name for rows in detectors.values() for name in rows.images))
    sides = {name: _side(rows, subsets, images, name) for name, rows in detectors.items()}
    keys = functools.reduce(np.intersect1d, (side.keys for side in sides.values()))
    if not len(keys):
        raise UserError(f"{', '.join(sides)} share no image. Were the same files scored?")
    at = {name: np.searchsorted(side.keys, keys) for name, side in sides.items()}
    first, *others = sides
    label = sides[first].labels[at[first]]
    for name in others:
        if apart := int(np.count_nonzero(sides[name].labels[at[name]] != label)):
            raise UserError(
                f"{apart} images have one label in {first} and the other in {name}. Give both the same labels."
            )
    return Aligned(
        **_numbered(keys, subsets, images),
        label=label,
        scores={name: {s: own[at[name]] for s, own in side.scores.items()} for name, side in sides.items()},
        left_out={name: len(side.keys) - len(keys) for name, side in sides.items()},
    )


def _numbered(keys: Int[np.ndarray, " rows"], subsets: list[str], images: list[str]) -> dict[str, Any]:
    """``subsets``, ``subset`` and ``image`` of what was matched: numbers of those alone that are left."""
    subset, image = np.divmod(keys, len(images))
    used, number = np.unique(subset, return_inverse=True)
    left = [subsets[k] for k in used]
    return {"subsets": left, "subset": number, "image": np.unique(image, return_inverse=True)[1]}


def _places(keys: Int[np.ndarray, " rows"], subsets: list[str], images: list[str]) -> list[Place]:
    pairs = (divmod(key, len(images)) for key in keys.tolist())
    return [(subsets[subset], images[image]) for subset, image in pairs]


def _side(rows: ScoreRows, subsets: list[str], images: list[str], name: str) -> _Side:
    wrong = np.flatnonzero(~((rows.score >= 0) & (rows.score <= 1)))
    if len(wrong):
        first = int(wrong[0])
        raise UserError(
            f"{name}: {len(wrong)} scores are no probabilities, first {rows.score[first]} of image "
            f"{short(rows.images[rows.image[first]])}. A score is p(fake), from 0 to 1."
        )
    subset_of = np.array([subsets.index(one) for one in rows.subsets])
    number = {image: k for k, image in enumerate(images)}
    image_of = np.array([number[one] for one in rows.images])
    keys = subset_of[rows.subset].astype(np.int64) * len(images) + image_of[rows.image]
    sides: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for seed in np.unique(rows.seed).tolist():
        of_seed = rows.seed == seed
        chosen = np.flatnonzero(of_seed & (rows.epoch == rows.epoch[of_seed].max()))
        order = chosen[np.argsort(keys[chosen], kind="stable")]
        doubled = np.flatnonzero(np.diff(keys[order]) == 0)
        if len(doubled):
            subset, image = divmod(int(keys[order][doubled[0]]), len(images))
            raise UserError(
                f"{name}, seed {seed}: {len(doubled)} images have several scores, first "
                f"{subsets[subset]}/{short(images[image])}. Are the scores of several runs together?"
            )
        sides[seed] = keys[order], rows.label[order].astype(np.int64), rows.score[order]
    whole, labels, _ = next(iter(sides.values()))
    for seed, (held, _, _) in sides.items():
        if not np.array_equal(held, whole):
            lacking = len(np.setxor1d(held, whole))
            raise UserError(f"{name}: seed {seed} differs from seed {next(iter(sides))} in {lacking} scored images.")
    _check_labels(whole % len(images), labels, images, name)
    return _Side(whole, labels, {seed: scores for seed, (_, _, scores) in sides.items()})


def _check_labels(
    image: Int[np.ndarray, " rows"], labels: Int[np.ndarray, " rows"], images: list[str], name: str
) -> None:
    """Whether every label is 0 or 1, and each image has one.

    Raises:
        UserError: it is otherwise.
    """
    if strange := sorted(set(np.unique(labels).tolist()) - {0, 1}):
        raise UserError(f"{name}: labels are 0 (real) and 1 (fake), got {', '.join(map(str, strange))}.")
    both = np.intersect1d(image[labels == 0], image[labels == 1])
    if len(both):
        raise UserError(f"{name}: {len(both)} images are both real and fake, first {short(images[int(both[0])])}.")
