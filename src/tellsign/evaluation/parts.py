"""Which images of a test set are measured together, as the protocol says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tellsign.errors import UserError, choose
from tellsign.evaluation.listing import Listing

if TYPE_CHECKING:
    from jaxtyping import Int


@dataclass(frozen=True)
class Part:
    """Rows of a listing that are measured together: a subset, or one class of it."""

    subset: str
    rows: Int[np.ndarray, " rows"]


def parts_of(listing: Listing, settings: Mapping[str, Any], where: str) -> list[Part]:
    """What is measured: subsets or their classes, with the reals and the sample that the protocol says.

    Raises:
        UserError: a subset that is not there, or a part of one class.
    """
    pooled = settings["pooled_reals"]
    pooled = {"none": [], "all": listing.subsets}.get(pooled, pooled) if isinstance(pooled, str) else pooled
    for name in pooled:
        choose(dict.fromkeys(listing.subsets), name, f"subset of pooled_reals in the protocol of {where}")
    parts = []
    for number, subset in enumerate(listing.subsets):
        for rows in _parts_of_subset(listing, number, subset in pooled, settings):
            _check_part(listing, rows, subset, settings["batch"], where)
            parts.append(Part(subset, rows))
    return parts


def _parts_of_subset(
    listing: Listing, number: int, pooled: bool, settings: Mapping[str, Any]
) -> Iterator[Int[np.ndarray, " rows"]]:
    """The rows of each part of a subset: all of them, or one class after the other."""
    rows = np.flatnonzero(listing.subset == number)
    folder = listing.folder[rows]
    if pooled:
        real = np.flatnonzero(listing.label == 0)
        near = real[listing.split[real] == listing.split[rows[0]]]
        others = near[~np.isin(listing.image[near], listing.image[rows])]
        once = np.unique(listing.image[others], return_index=True)[1]
        rows = np.concatenate([rows, np.sort(others[once])])
        folder = np.zeros(len(rows), np.int64)  # reals from elsewhere belong to none of its classes
    sample = settings["sample"]
    if sample["per"] == "subset":
        rows, folder = _sampled(rows, folder, listing.label, sample)
    classes = [rows[folder == one] for one in np.unique(folder)]
    if sample["per"] == "class":
        classes = [_sampled(one, one, listing.label, sample)[0] for one in classes]
    yield from [np.concatenate(classes)] if settings["classes"] == "pooled" else classes


def _check_part(listing: Listing, rows: Int[np.ndarray, " rows"], subset: str, batch: int | None, where: str) -> None:
    for value, what in ((0, "real"), (1, "fake")):
        if not np.any(listing.label[rows] == value):
            raise UserError(f"{where}: subset {subset!r} has no {what} images; the metrics need both classes.")
    if batch is not None and len(rows) < batch:
        raise UserError(
            f"{where}: subset {subset!r} has {len(rows)} images, fewer than the protocol's batch of {batch}."
        )


def _sampled(
    rows: Int[np.ndarray, " rows"],
    folder: Int[np.ndarray, " rows"],
    labels: Int[np.ndarray, " listed"],
    sample: Mapping[str, Any],
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"]]:
    """The first rows of each label; a split is in the order of its seed, so they are a sample."""
    limit = sample["limit"]
    if limit is None:
        return rows, folder
    counts = [int(np.count_nonzero(labels[rows] == value)) for value in (0, 1)]
    if sample["fallback"] is not None and min(counts) < limit:
        limit = sample["fallback"]
    at = np.sort(np.concatenate([np.flatnonzero(labels[rows] == value)[:limit] for value in (0, 1)]))
    return rows[at], folder[at]
