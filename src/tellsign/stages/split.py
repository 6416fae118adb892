"""Draw a seeded sample of a benchmark's part: as many real as fake images of every subset.

Reads the indexes of the part, and those of the parts that are looked at later. Writes the chosen rows as Parquet:
subset, part, label, generator, class, id, root, path, width, height, rank (0.. within subset and label), ordered by
subset, label and rank.

The order within a subset and label is that of a keyed hash of seed and image id. It depends on nothing else in
the index, so with the same seed a smaller sample is the beginning of a larger one, and images that subsets share
are drawn together. An image that occurs twice in a subset is drawn once. Files with a status other than ok are
never drawn.

Indexes of one subset's part do not know one another, so what contradicts itself across them is found here, as the
index of a whole benchmark finds it: an image that is both real and fake, and one that is also in a part which is
looked at later. Such images are not drawn (`on_bad: drop`) or end the stage (`on_bad: fail`); OUT's neighbour
`.bad.csv` lists them and OUT's footer counts them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellsign.data.leaks import LEFT_OUT, TWO_LABELS
from tellsign.errors import UserError, near_miss
from tellsign.system.bad_files import report_bad
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


def drawn_from(index: Sequence[Path], settings: dict) -> list[dict[str, Any]]:
    """The rows of indexes that a split can draw from; GenImage's millions are no list of dicts.

    Where a part or subset is not there, more rows than that, so that :func:`sample` can say what is.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.concat_tables([read_rows(path, (*COLUMNS, "status")) for path in index])
    part = table.filter(pc.equal(table["part"], settings["part"]))  # pyright: ignore[reportAttributeAccessIssue]
    wanted = set() if settings["subsets"] == "all" else set(settings["subsets"])
    if wanted and wanted <= set(pc.unique(part["subset"]).to_pylist()):  # pyright: ignore[reportAttributeAccessIssue]
        part = part.filter(pc.is_in(part["subset"], pa.array(sorted(wanted))))  # pyright: ignore
    return (part if len(part) else table).to_pylist()


def contradictions(rows: list[dict[str, Any]], later: Mapping[str, set[int]]) -> list[dict[str, Any]]:
    """Rows whose image is under both labels, or in a part that is looked at later, with such a status and the reason.

    Args:
        rows: Of one part.
        later: Ids of the images in the parts that are looked at later, and their labels.
    """
    labels: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row["status"] in ("ok", "two labels"):
            labels[row["id"]].add(row["label"])
    found = []
    for row in rows:
        if row["status"] != "ok":
            continue
        if len(labels[row["id"]] | later.get(row["id"], set())) > 1:
            found.append(row | TWO_LABELS)
        elif row["id"] in later:
            reason = "the same bytes are in a part that is looked at later"
            found.append(row | {"status": "two parts", "reason": reason})
    return found


def labels_by_image(indexes: Sequence[Path], ids: Collection[str]) -> dict[str, set[int]]:
    """Those of some images that are in indexes → their labels there."""
    labels: dict[str, set[int]] = defaultdict(set)
    for path in indexes:
        columns = read_rows(path, ("id", "label", "status"))
        for image, label, status in zip(*(columns[name].to_pylist() for name in columns.column_names), strict=True):
            if image in ids and status in ("ok", "two labels"):
                labels[image].add(label)
    return labels


def _without_contradictions(
    rows: list[dict[str, Any]], later: Sequence[Path], settings: dict, out: Path
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The rows that do not contradict others, and how many images do, by status.

    Raises:
        UserError: some do, and ``on_bad: fail``.
    """
    found = contradictions(rows, labels_by_image(later, {row["id"] for row in rows}))
    report = out.with_suffix(".bad.csv")
    report_bad(found, report)
    counts = Counter({row["id"]: row["status"] for row in found}.values())
    if found:
        summary = ", ".join(f"{count} images in {status}" for status, count in sorted(counts.items()))
        if settings["on_bad"] == "fail":
            raise UserError(
                f"{summary}: {report} lists them. Remove these files, or leave them out by changing\n  on_bad: fail\n"
                "to\n  on_bad: drop\nin the configuration."
            )
        log.warning("dropped: %s; %s lists them", summary, report)
    bad = {row["id"] for row in found}
    return [row for row in rows if row["id"] not in bad], counts


def main(*, settings: dict, index: list[Path], out: Path, later: list[Path] | None = None) -> None:
    """Draw one split.

    Args:
        settings: part (``train``, ``val``, ``test``, ``pretrain``: real only), subsets (a list; empty or ``all``: every
            one), count (images per subset, half real and half fake; ``all``: every image, balanced or not), seed,
            per_class and fallback (see :func:`limited`; null: all images), skip (images per subset that a split of this
            count and the same seed takes, and this one leaves out), on_bad (``fail`` or ``drop``).
        index: the benchmark's index, or those of the subsets.
        out: the Parquet file to write.
        later: the indexes of the benchmark's parts that are looked at later, where it has several indexes.

    Raises:
        UserError: see :func:`sample`; or images contradict one another, and ``on_bad: fail``.
    """
    kept, left_out = _without_contradictions(drawn_from(index, settings), later or [], settings, out)
    rows = sample(kept, settings)
    columns = {name: [row[name] for row in rows] for name in (*COLUMNS, "rank")}
    notes = {LEFT_OUT: json.dumps(left_out, sort_keys=True)}
    write_rows(out, {n: np.array(v, NUMBERS[n]) if n in NUMBERS else v for n, v in columns.items()}, notes)
