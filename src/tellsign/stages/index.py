"""Index a benchmark, or one subset's part of it: every image decoded once, with its id, size, format, JPEG quality
and status.

Reads the benchmark's folders, for one subset's part only those that do not belong to others. Writes one Parquet row
per subset and image: subset, part, label, generator, class (folder of what is shown, in nested sets), id (sha256 of
the bytes), root, path, width, height, format, mode, quality, bytes, status, reason.

A file that cannot be used keeps its row, with a status and a reason; nothing is put in its place. With
`on_bad: fail` the stage ends after the last file with one list of all such files; with `on_bad: drop` they
stay in the index and no split draws them. Either way they are listed in OUT's neighbour `.bad.csv`. Files that are
no images of the benchmark (another format, hidden, in a folder of no meaning) have no row: the file's footer holds
how many there are of each kind, folder by folder.

Two more things make a row unusable, because they would falsify every number: an image that is both real and
fake (status `two labels`, all its rows) and an image that is also in a part which is looked at later (status
`two parts`: its rows in train where it is in val or test, those in val where it is in test; the test set stays
what others used). What is in the indexes of several parts or subsets, the split marks that reads them.

Where the configuration states how many images there should be, a shortfall is reported for every subset, part and
label, with the folder and where the set can be got; it is found before anything is decoded, or after, where too
many files are unusable.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tellsign.data.benchmarks import PARTS, PASSED_OVER, Placed, list_images, part_of, passed_over
from tellsign.data.images import Facts, in_order, inspect
from tellsign.data.leaks import TWO_LABELS, validation_photographs
from tellsign.errors import UserError
from tellsign.system.bad_files import report_bad
from tellsign.system.devices import threads
from tellsign.system.files import is_made
from tellsign.system.parquet import write_rows
from tellsign.system.progress import progress

log = logging.getLogger(__name__)

TEXT = None
# An error message that names more files than this is not read; the list is in a file beside.
LISTED = 50
COLUMNS: dict[str, type[np.integer] | None] = {
    "subset": TEXT,
    "part": TEXT,
    "label": np.int8,
    "generator": TEXT,
    "class": TEXT,
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


def row_of(file: Placed, image_id: str, facts: Facts, settings: dict) -> dict[str, Any]:
    """One row of the index; the part follows from the id where the folders name none."""
    part = file.part or part_of(image_id, settings["seed"], settings["test_fraction"])
    return vars(file) | vars(facts) | {"id": image_id, "part": part, "class": file.category}


def mark_contradictions(rows: list[dict[str, Any]]) -> None:
    """Set the status of rows whose image has two labels, or is also in a part that is looked at later; in place."""
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
            row |= TWO_LABELS
        elif row["part"] != (last := max(parts[row["id"]], key=PARTS.index)):
            row |= {"status": "two parts", "reason": f"the same bytes are in {row['part']} and in {last}"}


def bad_files(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows that cannot be used, each file once."""
    bad = {(row["root"], row["path"], row["status"]): row for row in rows if row["status"] != "ok"}
    return [bad[key] for key in sorted(bad)]


Place = tuple[str, str, int]  # subset, part, label


def shortfalls(usable: Iterable[tuple[Place, str, str]], roots: Mapping[str, Path], expected: dict) -> dict[str, bool]:
    """Lines for every subset, part and label that has too few images → whether the count is an inferred one.

    Args:
        usable: subset, part and label of each usable image, its root and its path.
        roots: key → folder.
        expected: counts, tolerance and folders; see :func:`main`.
    """
    counts: Counter[Place] = Counter()
    places: dict[Place, set[tuple[str, str]]] = defaultdict(set)
    for place, root, path in usable:
        counts[place] += 1
        places[place].add((root, PurePosixPath(path).parent.as_posix() if "/" in path else "."))
    lines = {}
    looked_in = ", ".join(map(str, roots.values()))
    for subset, parts in expected["counts"].items():
        for part, stated in parts.items():
            for label, name in enumerate(("real", "fake")):
                wanted, place = stated[name], (subset, part, label)
                if wanted is None or counts[place] >= wanted * (1 - expected["tolerance"]):
                    continue
                folders = sorted(f"{roots[root] / path}" for root, path in places[place])
                more = f" and {len(folders) - 1} more folders" if len(folders) > 1 else ""
                known = " or ".join(expected["folders"].get(subset, ())) or subset
                where = folders[0] + more if folders else f"no folder of them ({known}) in {looked_in}"
                wording = "should be about" if stated["inferred"] else "should be"
                lines[f"  {subset}, {part}, {name}: {counts[place]:,}, {wording} {wanted:,}: {where}"] = stated[
                    "inferred"
                ]
    return lines


def check_counts(
    usable: Iterable[tuple[Place, str, str]],
    what: str,
    roots: Mapping[str, Path],
    expected: dict,
    said: Iterable[str] = (),
) -> list[str]:
    """Warn of shortfalls, but of those in ``said``; return all lines.

    Raises:
        UserError: a shortfall of a count that is stated, and ``on_short: fail``.
    """
    lines = shortfalls(usable, roots, expected)
    if not lines.keys() - set(said):
        return list(lines)
    message = (
        f"fewer {what} than the set should have ({100 * expected['tolerance']:g} % may lack):\n" + "\n".join(lines)
        + f"\nGet it from {expected['page'] or 'its publisher'} (licence: {expected['licence'] or 'not stated'}). "
        f"{expected['get']}"
    )  # fmt: skip
    if expected["on_short"] == "fail" and not all(lines.values()):
        raise UserError(
            f"{message}\nTo go on with what is there, say on_short: warn for this benchmark in the configuration, or "
            "name the subsets that are whole under `subsets`."
        )
    log.warning("%s", message)
    return list(lines)


def _warn_of_validation_images(files: Iterable[Placed]) -> None:
    """Say so where photographs for pre-training are those that a benchmark tests on."""
    validation = validation_photographs(file.path for file in files if file.part == "pretrain")
    if validation:
        log.warning(
            "%d photographs for pre-training are named as ImageNet's validation images, which are the real images of "
            "GenImage's test part (such as %s): point the root at the training images alone.",
            len(validation),
            validation[0],
        )


def _report_unusable(
    rows: Sequence[Mapping[str, Any]], files: int, settings: dict, roots: Mapping[str, Path], out: Path
) -> None:
    """List the files that cannot be used beside the index, and warn of them.

    Raises:
        UserError: there are some, and ``on_bad: fail``.
    """
    bad = bad_files(rows)
    report = out.with_suffix(".bad.csv")
    report_bad(bad, report)
    if not bad:
        return
    lines = [f"  {row['status']}: {roots[row['root']] / row['path']} ({row['reason']})" for row in bad[:LISTED]]
    lines += [f"  and {len(bad) - LISTED} more"] if len(bad) > LISTED else []
    counts = Counter(row["status"] for row in bad)
    kinds = ", ".join(f"{count} {status}" for status, count in counts.items())
    summary = f"{len(bad)} of {files} files cannot be used ({kinds})"
    if settings["on_bad"] == "fail":
        raise UserError(
            f"benchmark {settings['benchmark']!r}: {summary}:\n" + "\n".join(lines) + "\n"
            f"The list is also in {report}. Mend or remove these files, or leave them out by changing\n"
            "  on_bad: fail\nto\n  on_bad: drop\nin the configuration."
        )
    log.warning("dropped: %s:\n%s", summary, "\n".join(lines))


def main(*, settings: dict, roots: dict[str, Path], out: Path, expected: dict | None = None) -> None:
    """Index one benchmark, or one subset's part of it.

    Args:
        settings: benchmark, layout, subsets (empty: all), part (none: all), exclude, folders, reals, parts, min_side,
            max_pixels, test_fraction, seed, on_bad (``fail`` or ``drop``).
        roots: key → folder.
        out: the Parquet file to write.
        expected: counts (subset → part → real, fake, inferred), tolerance (share), on_short (``fail`` or ``warn``),
            folders (subset → names), page, get, licence; elsewhere (root → folders that belong to other parts and
            subsets); none: nothing is compared.

    Raises:
        UserError: no images; too few and ``on_short: fail``; or unusable ones and ``on_bad: fail``.
    """
    listing = list_images(roots, settings, (expected or {}).get("elsewhere"))
    # in folders that stages made lie lists and marks of the pipeline's own; how many says nothing of the images
    skipped = {} if all(map(is_made, roots.values())) else listing.skipped
    for why, count in passed_over([skipped]).items():
        log.info("passed over: %d × %s", count, why)
    notes = {PASSED_OVER: json.dumps(skipped, ensure_ascii=False)}
    short: list[str] = []
    if expected:
        listed = (((f.subset, f.part, f.label), f.root, f.path) for f in listing.files)
        short = check_counts(listed, "files", roots, expected)
    _warn_of_validation_images(listing.files)

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

    _report_unusable(rows, len(places), settings, roots, out)
    if expected:
        usable = (((r["subset"], r["part"], r["label"]), r["root"], r["path"]) for r in rows if r["status"] == "ok")
        check_counts(usable, "usable images", roots, expected, said=short)
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    write_rows(out, {n: v if COLUMNS[n] is TEXT else np.array(v, COLUMNS[n]) for n, v in columns.items()}, notes)
