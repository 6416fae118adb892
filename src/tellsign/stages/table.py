"""Make one table of a paper: quoted, ours ± deviation, delta and cost.

Reads:
  --metrics    Parquet files of evaluate, one a run that the table names.
  --indexes    BENCHMARK=PATH or BENCHMARK/PART/SUBSET=PATH: indexes of the benchmarks tested on; footnotes say what
               file sizes alone reveal, and which files were left out or passed over.
  --seen       WHAT=PATH: splits that were trained or pre-trained on; a footnote says what of them is tested on.
  --tested     WHAT=PATH: splits that were tested on; a footnote says what of them contradicts itself.
  --published  CSV of the paper's printed numbers; needed only where the table quotes.

Settings: the table's, as `tellsign.schema.tables.table_settings` completes them.

Writes:
  --out  folder: table.csv (every number in long form, with its digests), table.md, table.tex (needs booktabs,
         graphicx), table.html (a page of its own) and table.json (what it shows, for the report). Equal inputs
         give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tellsign.data.benchmarks import PASSED_OVER, passed_over
from tellsign.data.leaks import LEFT_OUT, bits_per_pixel, bits_per_pixel_auc, seen_before
from tellsign.errors import UserError
from tellsign.results.published import Quoted, load
from tellsign.results.tables.make import make_document
from tellsign.results.tables.writers import FORMATS
from tellsign.system.files import folder_beside
from tellsign.system.parquet import read_notes, read_rows

if TYPE_CHECKING:
    import pyarrow as pa

REASONS = 8
"""A footnote lists the most frequent reasons for passing a file over, up to this many."""


def what_was_passed_over(benchmark: str, indexes: Sequence[Path]) -> list[str]:
    """A footnote: files in the benchmark's folders that are none of its images, by reason; none without any."""
    by_reason = passed_over(json.loads(read_notes(index).get(PASSED_OVER, "{}")) for index in indexes)
    if not by_reason:
        return []
    frequent = sorted(by_reason.items(), key=lambda pair: (-pair[1], pair[0]))
    listed = [f"{count} × {reason}" for reason, count in frequent[:REASONS]]
    rest = sum(count for _, count in frequent[REASONS:])
    listed += [f"{rest} for other reasons"] if rest else []
    total = by_reason.total()
    return [f"{total} other {'file' if total == 1 else 'files'} in {benchmark}'s folders: {'; '.join(listed)}."]


def usable_tests(listed: pa.Table) -> pa.Table:
    """The rows of an index whose images can be used and are in the test part."""
    import pyarrow.compute as pc

    usable, test = pc.equal(listed["status"], "ok"), pc.equal(listed["part"], "test")  # pyright: ignore
    return listed.filter(pc.and_(usable, test))  # pyright: ignore[reportAttributeAccessIssue]


def what_files_reveal(benchmark: str, indexes: Sequence[Path]) -> str:
    """A footnote: files left out, and how well bits per pixel of the test files alone tell fake from real."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = ("root", "path", "status", "part", "subset", "label", "bytes", "height", "width")
    listed = pa.concat_tables([read_rows(index, columns) for index in indexes])
    rows = usable_tests(listed).to_pylist()
    spent = bits_per_pixel(*(np.array([row[name] for row in rows]) for name in ("bytes", "height", "width")))
    bits: dict[str, tuple[list[float], list[float]]] = {}
    for row, value in zip(rows, spent.tolist(), strict=True):
        bits.setdefault(row["subset"], ([], []))[row["label"]].append(value)
    by_subset = [
        f"{subset} {bits_per_pixel_auc(np.array(real), np.array(fake)):.2f}"
        for subset, (real, fake) in sorted(bits.items())
        if real and fake
    ]
    unusable = listed.filter(pc.not_equal(listed["status"], "ok")).to_pylist()  # pyright: ignore
    dropped = len({(row["root"], row["path"]) for row in unusable})
    repeated = len({(row["root"], row["path"]) for row in unusable if row["status"] == "two parts"})
    files = len(listed.group_by(["root", "path"]).aggregate([]))
    left_out = (
        f"{dropped} of {benchmark}'s {files} files cannot be used and were left out"
        + (f", {repeated} of them because the same image is in a later part" if repeated else "")
        + f"; {_lists_of_bad(indexes)}. "
    )
    return (left_out if dropped else "") + (
        f"Bits per pixel of {benchmark}'s test files alone tell fake from real with AUC {', '.join(by_subset)} "
        "(0.5 is chance; above it fakes cost more bits)."
    )


def _lists_of_bad(indexes: Sequence[Path]) -> str:
    """Where the files that cannot be used are named."""
    if len(indexes) == 1:
        return f"data/index/{indexes[0].stem}.bad.csv names them"
    return f"files named .bad.csv in data/index/{indexes[0].parent.parent.name}/ name them"


def what_contradicts(splits: Mapping[str, Path]) -> list[str]:
    """Footnotes: images that splits left out because they contradict others."""
    notes = []
    for name, path in splits.items():
        counts = json.loads(read_notes(path).get(LEFT_OUT, "{}"))
        reasons = {"two labels": "as both real and fake", "two parts": "also in a part that is looked at later"}
        listed = [f"{count} {reasons[status]}" for status, count in sorted(counts.items())]
        if listed:
            notes.append(f"Images left out of the {name}: {', '.join(listed)}; {path.stem}.bad.csv names them.")
    return notes


def what_was_seen(seen: Mapping[str, Path], indexes: Mapping[str, Sequence[Path]]) -> list[str]:
    """Footnotes: test images that a run was trained or pre-trained on, and training images that were in both."""
    before = {name: read_rows(path, ["id"])["id"].to_pylist() for name, path in seen.items()}
    tested = {}
    for name, paths in indexes.items():
        columns = ("id", "part", "status")
        tested[name] = {image for path in paths for image in usable_tests(read_rows(path, columns))["id"].to_pylist()}
    notes = [
        f"{count} of {benchmark}'s {len(tested[benchmark])} test images are in the {split} of a run in this table."
        for (split, benchmark), count in sorted(seen_before(before, tested).items())
    ]
    trained = {name: ids for name, ids in before.items() if name.startswith("training")}
    unlabelled = {name: ids for name, ids in before.items() if name.startswith("pre-training")}
    notes += [
        f"{count} of the {len(set(trained[split]))} images of the {split} are also in the {other}, which has no labels."
        for (other, split), count in sorted(seen_before(unlabelled, trained).items())
    ]
    return notes


def main(
    *,
    settings: dict,
    metrics: list[Path],
    out: Path,
    indexes: dict[str, Path] | None = None,
    seen: dict[str, Path] | None = None,
    tested: dict[str, Path] | None = None,
    published: Path | None = None,
) -> None:
    """Make one table; see the module's text.

    Raises:
        UserError: the specification asks for something that is not there.
    """
    quoted: list[Quoted] = []
    if settings.get("quoted") is not None:
        if published is None:
            raise UserError(f"table {settings.get('name')} quotes the paper: give --published FILE.")
        quoted = load(published)
    rows = [row for path in metrics for row in read_rows(path).to_pylist()]
    notes = []
    by_benchmark: dict[str, list[Path]] = {}
    for name, path in (indexes or {}).items():
        by_benchmark.setdefault(name.partition("/")[0], []).append(path)
    for name, paths in by_benchmark.items():
        notes += [what_files_reveal(name, paths), *what_was_passed_over(name, paths)]
    notes += what_contradicts((seen or {}) | (tested or {}))
    notes += what_was_seen(seen or {}, by_benchmark)
    document = make_document(settings | {"footnotes": [*settings.get("footnotes", ()), *notes]}, rows, quoted)
    with folder_beside(out) as folder:
        for ending, write in FORMATS.items():
            (folder / f"table.{ending}").write_text(write(document), encoding="utf-8", newline="\n")
