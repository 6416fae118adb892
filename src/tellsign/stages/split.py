"""Draw a seeded sample of an index: as many real as fake images of every subset.

Reads an index. Writes the chosen rows as Parquet: subset, part, label, generator, class, id, root, path, width,
height, rank (0.. within subset and label), ordered by subset, label and rank.

The order within a subset and label is that of a keyed hash of seed and image id. It depends on nothing else in
the index, so with the same seed a smaller sample is the beginning of a larger one, and images that subsets share
are drawn together. An image that occurs twice in a subset is drawn once. Files with a status other than ok are
never drawn.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from tellsign.errors import UserError, near_miss
from tellsign.system.parquet import read_rows, write_rows

log = logging.getLogger(__name__)

COLUMNS = ("subset", "part", "label", "generator", "class", "id", "root", "path", "width", "height")
NUMBERS = {"label": np.int8, "width": np.int32, "height": np.int32, "rank": np.int32}


def sampling_key(image_id: str, seed: int) -> str:
    """Where an image stands in the order of a seed."""
    return hashlib.sha256(f"split {seed} {image_id}".encode()).hexdigest()


def ordered(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Rows of one subset and label in the order of the seed, every image once."""
    once: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["root"], row["path"])):
        once.setdefault(row["id"], row)
    return sorted(once.values(), key=lambda row: sampling_key(row["id"], seed))


def limited(
    queues: dict[int, list[dict[str, Any]]], limit: int | None, fallback: int | None
) -> dict[int, list[dict[str, Any]]]:
    """Keep at most ``limit`` images of each label from every class folder, in the order they have.

    Where a class folder has fewer than ``limit`` of either label, both labels give ``fallback``, or what they have
    if that is none.

    Source: UniversalFakeDetect's public evaluation, whose loader asks for 1,000 of each label a folder and falls to
    100 where there are fewer.
    """
    if limit is None:
        return queues
    class_counts = {label: Counter(row["class"] for row in queue) for label, queue in queues.items()}
    classes = {name for counts in class_counts.values() for name in counts}
    poor = {name for name in classes if any(counts[name] < limit for counts in class_counts.values())}
    take = {name: fallback if name in poor and fallback is not None else limit for name in classes}
    kept: dict[int, list[dict[str, Any]]] = {}
    for label, queue in queues.items():
        taken: Counter[str] = Counter()
        kept[label] = []
        for row in queue:
            if taken[row["class"]] < take[row["class"]]:
                taken[row["class"]] += 1
                kept[label].append(row)
    return kept


def chosen_subsets(rows: list[dict[str, Any]], settings: dict) -> list[str]:
    """Names of the subsets to sample, in alphabetical order.

    Raises:
        UserError: a subset is not in this part, or the part is empty.
    """
    part = settings["part"]
    known = sorted({row["subset"] for row in rows if row["part"] == part})
    if not known:
        parts = ", ".join(sorted({row["part"] for row in rows})) or "nothing"
        raise UserError(f"part {part!r} holds no usable image; this index has: {parts}.")
    wanted = sorted(set(settings["subsets"])) if settings["subsets"] != "all" else []
    for name in wanted:
        if name not in known:
            raise UserError(f"part {part!r} has no subset {name!r}.{near_miss(name, known)} Known: {', '.join(known)}.")
    return wanted or known


def sample(rows: list[dict[str, Any]], settings: dict) -> list[dict[str, Any]]:
    """Choose rows; see :func:`main`.

    Raises:
        UserError: unknown subset, an odd count, or too few images; all subsets with too few are listed.
    """
    part, count, seed, skip = (settings[name] for name in ("part", "count", "seed", "skip"))
    labels = {0: "real"} if part == "pretrain" else {0: "real", 1: "fake"}
    for name, images in (("count", count), ("skip", skip)):
        if images != "all" and images % len(labels):
            half = "half of them real and half fake: give an even number."
            raise UserError(f"{name} is {images} images per subset, {half}")
    usable = [row for row in rows if row["status"] == "ok"]
    groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in usable:
        if row["part"] == part:
            groups[row["subset"], row["label"]].append(row)
    chosen: list[dict[str, Any]] = []
    shortfalls: list[str] = []
    for subset in chosen_subsets(usable, settings):
        queues = {label: ordered(groups[subset, label], seed) for label in labels}
        queues = limited(queues, settings["per_class"], settings["fallback"])
        for label, name in labels.items():
            queue = queues[label][skip // len(labels) :]
            need = max(1, len(queue)) if count == "all" else count // len(labels)
            if len(queue) < need:
                shortfalls.append(f"  {subset}: {len(queue)} {name}, {need} wanted")
            log.info("%s %s: %d of %d %s", subset, part, min(need, len(queue)), len(queue), name)
            for rank, row in enumerate(queue[:need]):
                chosen.append({name: row[name] for name in COLUMNS} | {"rank": rank})
    if shortfalls and count == "all":
        raise UserError(
            f"part {part!r} lacks a label:\n" + "\n".join(shortfalls) + "\nAdd such images, or leave the subset out: "
            "name the others in the split's `subsets`, or name it in the benchmark's `exclude`."
        )
    if shortfalls:
        raise UserError(
            f"too few different usable images in part {part!r}:\n" + "\n".join(shortfalls) + "\nLower the count "
            "(images per subset, half real and half fake), set `count: all` or name the subsets to sample."
        )
    return chosen


def drawn_from(index: Path, settings: dict) -> list[dict[str, Any]]:
    """The rows of an index that a split can draw from; GenImage's millions are no list of dicts.

    Where a part or subset is not there, more rows than that, so that :func:`sample` can say what is.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = read_rows(index, (*COLUMNS, "status"))
    part = table.filter(pc.equal(table["part"], settings["part"]))  # pyright: ignore[reportAttributeAccessIssue]
    wanted = set() if settings["subsets"] == "all" else set(settings["subsets"])
    if wanted and wanted <= set(pc.unique(part["subset"]).to_pylist()):  # pyright: ignore[reportAttributeAccessIssue]
        part = part.filter(pc.is_in(part["subset"], pa.array(sorted(wanted))))  # pyright: ignore
    return (part if len(part) else table).to_pylist()


def main(*, settings: dict, index: Path, out: Path) -> None:
    """Draw one split.

    Args:
        settings: part (``train``, ``val``, ``test``, ``pretrain``: real only), subsets (a list; empty or ``all``: every
            one), count (images per subset, half real and half fake; ``all``: every image, balanced or not), seed,
            per_class and fallback (see :func:`limited`; null: all images), skip (images per subset that a split of this
            count and the same seed takes, and this one leaves out).
        index: the benchmark's index.
        out: the Parquet file to write.

    Raises:
        UserError: see :func:`sample`.
    """
    rows = sample(drawn_from(index, settings), settings)
    columns = {name: [row[name] for row in rows] for name in (*COLUMNS, "rank")}
    write_rows(out, {n: np.array(v, NUMBERS[n]) if n in NUMBERS else v for n, v in columns.items()})
