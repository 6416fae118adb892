"""Index a benchmark: every image decoded once, with its id, size, format, JPEG quality and status.

Reads the benchmark's folders. Writes one Parquet row per subset and image: subset, part, label, generator, id
(sha256 of the bytes), root, path, width, height, format, mode, quality, bytes, status, reason.

A file that cannot be used keeps its row, with a status and a reason; nothing is put in its place. With
`on_bad: fail` the stage ends after the last file with one list of all such files; with `on_bad: drop` they
stay in the index and no split draws them. Either way they are listed in OUT's neighbour `.bad.csv`.

Two more things make a row unusable, because they would falsify every number: an image that is both real and
fake (status `two labels`, all its rows) and an image of the test part that is also in the train part (status
`two parts`, its train rows: the test set stays what others used).
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from tellsign.benchmarks import ImageFile, list_images, part_of
from tellsign.errors import UserError
from tellsign.images import Facts, in_order, inspect
from tellsign.runtime import file_beside, progress, threads, write_rows

log = logging.getLogger(__name__)

TEXT = None
COLUMNS: dict[str, type[np.integer] | None] = {
    "subset": TEXT,
    "part": TEXT,
    "label": np.int8,
    "generator": TEXT,
    "id": TEXT,
    "root": TEXT,
    "path": TEXT,
    "width": np.int32,
    "height": np.int32,
    "format": TEXT,
    "mode": TEXT,
    "quality": np.int16,
    "bytes": np.int64,
    "status": TEXT,
    "reason": TEXT,
}


def row_of(file: ImageFile, image_id: str, facts: Facts, settings: dict) -> dict[str, Any]:
    """One row of the index; the part follows from the id where the folders name none."""
    part = file.part or part_of(image_id, settings["seed"], settings["test_fraction"])
    return vars(file) | vars(facts) | {"id": image_id, "part": part}


def mark_contradictions(rows: list[dict[str, Any]]) -> None:
    """Set the status of rows whose image has two labels, or is in the test part and in this one; in place."""
    labels: dict[str, set[int]] = defaultdict(set)
    parts: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["status"] == "ok":
            labels[row["id"]].add(row["label"])
            parts[row["id"]].add(row["part"])
    for row in rows:
        if row["status"] != "ok":
            continue
        if len(labels[row["id"]]) > 1:
            row |= {"status": "two labels", "reason": "the same bytes are under real and under fake"}
        elif row["part"] != "test" and "test" in parts[row["id"]]:
            row |= {"status": "two parts", "reason": f"the same bytes are in {row['part']} and in test"}


def bad_files(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that cannot be used, each file once."""
    bad = {(row["root"], row["path"], row["status"]): row for row in rows if row["status"] != "ok"}
    return [bad[key] for key in sorted(bad)]


def report_bad(bad: list[dict[str, Any]], report: Path) -> None:
    """Write the list of unusable files, or remove an earlier one when there are none."""
    if not bad:
        report.unlink(missing_ok=True)
        return
    with file_beside(report) as part, part.open("w", newline="", encoding="utf-8") as stream:
        columns = ["status", "root", "path", "reason", "bytes", "width", "height", "format", "mode", "id"]
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(bad)


def main(*, settings: dict, roots: dict[str, Path], out: Path) -> None:
    """Index one benchmark.

    Args:
        settings: benchmark, layout, subsets (empty: all), exclude, min_side, max_pixels, test_fraction, seed,
            on_bad (``fail`` or ``drop``).
        roots: key → folder.
        out: the Parquet file to write.

    Raises:
        UserError: no images, or unusable ones and ``on_bad: fail``.
    """
    listing = list_images(roots, settings)
    for why, count in listing.skipped.items():
        log.info("passed over: %d × %s", count, why)

    def read(place: tuple[str, str]) -> tuple[str, Facts]:
        data = (roots[place[0]] / place[1]).read_bytes()
        facts = inspect(data, min_side=settings["min_side"], max_pixels=settings["max_pixels"])
        return hashlib.sha256(data).hexdigest(), facts

    # photographs shared by several subsets are one place and are decoded once
    places = list(dict.fromkeys((file.root, file.path) for file in listing.files))
    results = progress(in_order(read, places, threads()), len(places), f"index {settings['benchmark']}")
    known = dict(zip(places, results, strict=True))
    rows = [row_of(file, *known[file.root, file.path], settings) for file in listing.files]
    rows.sort(key=lambda row: tuple(row[name] for name in ("subset", "part", "label", "root", "path")))
    mark_contradictions(rows)

    bad = bad_files(rows)
    report = out.with_suffix(".bad.csv")
    report_bad(bad, report)
    lines = [f"  {row['status']}: {roots[row['root']] / row['path']} ({row['reason']})" for row in bad]
    counts = Counter(row["status"] for row in bad)
    kinds = ", ".join(f"{count} {status}" for status, count in counts.items())
    summary = f"{len(bad)} of {len(places)} files cannot be used ({kinds})"
    if bad and settings["on_bad"] == "fail":
        raise UserError(
            f"benchmark {settings['benchmark']!r}: {summary}:\n" + "\n".join(lines) + "\n"
            f"The list is also in {report}. Mend or remove these files, or leave them out by changing\n"
            "  on_bad: fail\nto\n  on_bad: drop\nin the configuration."
        )
    if bad:
        log.warning("dropped: %s:\n%s", summary, "\n".join(lines))
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    write_rows(out, {n: v if COLUMNS[n] is TEXT else np.array(v, COLUMNS[n]) for n, v in columns.items()})
