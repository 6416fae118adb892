"""The images of a test set, and their scores in the same order: every listed image once, none missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tellsign.errors import UserError
from tellsign.system.parquet import read_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from jaxtyping import Float, Int

TestName = tuple[str, str]
"""Benchmark and perturbation of a test set."""

Scores = dict[tuple[int, int], "Float[np.ndarray, ' rows']"]
"""Seed and epoch to the scores of a listing's rows."""


@dataclass(frozen=True)
class Listing:
    """The images of a test set, in the order of its split, which is the order of the split's seed.

    Attributes:
        subsets: names of the subsets, in order.
        images: ids of the images, in alphabetical order.
        subset: number of each row's subset.
        image: number of each row's image.
        label: 0 real, 1 fake.
        folder: number of each row's class folder within the benchmark; 0 everywhere if there are none.
        split: number of the split that each row stands in, where several make one test set.
    """

    subsets: list[str]
    images: np.ndarray
    subset: Int[np.ndarray, " rows"]
    image: Int[np.ndarray, " rows"]
    label: Int[np.ndarray, " rows"]
    folder: Int[np.ndarray, " rows"]
    split: Int[np.ndarray, " rows"]

    @property
    def keys(self) -> Int[np.ndarray, " rows"]:
        """One number a row: subset, image, label."""
        return (self.subset * len(self.images) + self.image) * 2 + self.label

    def named(self, key: int) -> str:
        """What a key stands for, for messages."""
        pair, label = divmod(key, 2)
        subset, image = divmod(pair, len(self.images))
        return f"{self.subsets[subset]}/{self.images[image].decode()}/{label}"


@dataclass(frozen=True)
class ScoreRows:
    """Score rows of one test set; texts are numbers of ``subsets`` and ``images``."""

    subsets: list[str]
    images: list[str]
    seed: Int[np.ndarray, " rows"]
    epoch: Int[np.ndarray, " rows"]
    subset: Int[np.ndarray, " rows"]
    image: Int[np.ndarray, " rows"]
    label: Int[np.ndarray, " rows"]
    score: Float[np.ndarray, " rows"]


def splits_by_test(
    tests: Mapping[str, Mapping[str, str]], splits: Mapping[str, Path]
) -> dict[TestName, dict[str, pa.Table]]:
    """The splits of each test set, by name: one, or several that make one test set.

    Raises:
        UserError: a test set without a split, or two that list the same subset.
    """
    by_test: dict[TestName, dict[str, pa.Table]] = {}
    for name, test in tests.items():
        pair = (test["benchmark"], test["perturbation"])
        if name not in splits:
            raise UserError(f"test set {name!r} has no split. Got splits for: {', '.join(splits) or 'none'}.")
        table = read_rows(splits[name])
        subsets = set(table.column("subset").to_pylist())
        for other, its_table in by_test.get(pair, {}).items():
            if shared := subsets & set(its_table.column("subset").to_pylist()):
                raise UserError(
                    f"test sets {other!r} and {name!r} are both {pair[0]} / {pair[1]} and both hold {min(shared)}: "
                    "their scores cannot be told apart. Give them benchmarks of their own, or keep one."
                )
        by_test.setdefault(pair, {})[name] = table
    return by_test


TEXTS = ("benchmark", "perturbation", "subset", "id")


def scores_by_test(paths: Sequence[Path]) -> dict[TestName, ScoreRows]:
    """The rows of score files, by test set."""
    import pyarrow as pa

    # texts stay the numbers that the file holds: a run's scores are millions of rows of few different texts
    return rows_by_test(pa.concat_tables([read_rows(path, codes=TEXTS) for path in paths]))


def rows_by_test(table: pa.Table) -> dict[TestName, ScoreRows]:
    """Score rows by test set, of a table whose columns `TEXTS` are numbers with a dictionary."""
    (benchmark, benchmarks), (perturbation, perturbations), (subset, subsets), (image, images) = (
        _codes(table, name) for name in TEXTS
    )
    columns = {name: table.column(name).to_numpy() for name in ("seed", "epoch", "label", "score")}
    pair = benchmark.astype(np.int64) * len(perturbations) + perturbation
    by_test = {}
    for one in np.unique(pair).tolist():
        chosen = slice(None) if (pair == one).all() else pair == one
        name = (benchmarks[one // len(perturbations)], perturbations[one % len(perturbations)])
        chosen_columns = {key: values[chosen] for key, values in columns.items()}
        by_test[name] = ScoreRows(subsets, images, subset=subset[chosen], image=image[chosen], **chosen_columns)
    return by_test


def _codes(table: pa.Table, name: str) -> tuple[Int[np.ndarray, " rows"], list[str]]:
    """A column of texts as numbers, and the texts that they stand for."""
    joined = table.select([name]).unify_dictionaries().column(0).combine_chunks()
    return joined.indices.to_numpy(zero_copy_only=False), joined.dictionary.to_pylist()


def _numbered(names: Sequence[str]) -> tuple[np.ndarray, Int[np.ndarray, " names"]]:
    """The different names in alphabetical order, and the number of each."""
    return np.unique(np.array([name.encode() for name in names], dtype=np.bytes_), return_inverse=True)


def listing_of(splits: Sequence[pa.Table], where: str) -> Listing:
    """The images of the splits that make one test set.

    Raises:
        UserError: a subset called ``mean``, or an image listed with both labels; ``where`` names the test set.
    """
    import pyarrow as pa

    known = [name for name in ("subset", "id", "label", "class") if all(name in one.column_names for one in splits)]
    split = pa.concat_tables([one.select(known) for one in splits])
    subset_names = split.column("subset").to_pylist()
    subsets = list(dict.fromkeys(subset_names))
    if "mean" in subsets:
        raise UserError(f"{where}: a subset is called 'mean', the name of the mean over subsets. Rename it.")
    numbers = {name: number for number, name in enumerate(subsets)}
    images, image = _numbered(split.column("id").to_pylist())
    label = split.column("label").to_numpy().astype(np.int64)
    folders = split.column("class").to_pylist() if "class" in known else [""] * len(label)
    folder = _numbered(folders)[1]
    first = np.zeros(len(images), np.int64)
    first[image] = label
    contradicting = np.flatnonzero(first[image] != label)
    if len(contradicting):
        image_id = split.column("id")[int(contradicting[0])].as_py()[:12]
        raise UserError(
            f"{where}: image {image_id} is listed both as real and as fake ({len(contradicting)} rows). Remove it from "
            "one of the folders."
        )
    subset = np.array([numbers[name] for name in subset_names])
    source = np.repeat(np.arange(len(splits)), [len(one) for one in splits])
    return Listing(subsets, images, subset, image, label, folder, source)


def scores_in_order(rows: ScoreRows, listing: Listing, where: str) -> Scores:
    """Scores in the order of the listing, each checked to be there, once, and a probability.

    Raises:
        UserError: a score is no probability, or rows and listing differ.
    """
    wrong = np.flatnonzero(~((rows.score >= 0) & (rows.score <= 1)))
    if len(wrong):
        first = wrong[0]
        raise UserError(
            f"{where}: {len(wrong)} scores are no probabilities, first {rows.score[first]} of image "
            f"{rows.images[rows.image[first]][:12]} (seed {rows.seed[first]}). The training has probably diverged: "
            "lower its learning rate."
        )
    known = {name: number for number, name in enumerate(listing.subsets)}
    subset_of = np.array([known.get(name, -1) for name in rows.subsets])
    ids = np.array([name.encode() for name in rows.images], dtype=np.bytes_)
    place = np.minimum(np.searchsorted(listing.images, ids), len(listing.images) - 1)
    image_of = np.where(listing.images[place] == ids, place, -1)
    subset, image = subset_of[rows.subset], image_of[rows.image]
    keys = np.where((subset < 0) | (image < 0), -1, (subset * len(listing.images) + image) * 2 + rows.label)
    checkpoint = rows.seed * (int(rows.epoch.max()) + 1) + rows.epoch
    listed = listing.keys
    order = np.argsort(listed, kind="stable")
    by_checkpoint: Scores = {}
    for one in np.unique(checkpoint):
        at = np.flatnonzero(checkpoint == one)
        seed, epoch = int(rows.seed[at[0]]), int(rows.epoch[at[0]])
        scores = np.empty(len(listed), np.float32)
        if np.array_equal(keys[at], listed):
            scores[:] = rows.score[at]
        else:
            sorting = np.argsort(keys[at], kind="stable")
            if not np.array_equal(keys[at][sorting], listed[order]):
                raise UserError(f"{where}, seed {seed}, epoch {epoch}: {_difference(keys[at], listing)}")
            scores[order] = rows.score[at][sorting]
        by_checkpoint[seed, epoch] = scores
    return dict(sorted(by_checkpoint.items()))


def _difference(scored: Int[np.ndarray, " rows"], listing: Listing) -> str:
    """What is wrong with the rows of a checkpoint."""
    listed = listing.keys
    missing, extra = np.setdiff1d(listed, scored), np.setdiff1d(scored, listed)
    unlisted = int(np.count_nonzero(np.isin(scored, extra)))
    doubled = len(scored) - unlisted - len(np.setdiff1d(np.unique(scored), extra))
    example = f" First missing: {listing.named(int(missing[0]))} (subset/id/label)." if len(missing) else ""
    return (
        f"{len(listed)} images are listed and {len(scored)} scored; {len(missing)} listed images have no score, "
        f"{unlisted} scored images are not listed, {doubled} are scored twice.{example} Remove the scores file and "
        "score again."
    )
