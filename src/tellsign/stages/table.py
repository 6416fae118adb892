"""Make one table of a paper: quoted, ours ± deviation, delta and cost.

Reads:
  --metrics    Parquet files of evaluate, one a run that the table names.
  --indexes    BENCHMARK=PATH: indexes of the benchmarks tested on; a footnote says what file sizes alone reveal.
  --published  CSV of the paper's printed numbers; needed only where the table quotes.

Settings: the table's specification (see tellsign.tables), with banner, comparable and the runs' recipes.

Writes:
  --out  folder: table.csv (every number in long form, with its digests), table.md, table.tex (needs booktabs,
         graphicx) and table.html (a page of its own). Equal inputs give equal bytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tellsign.errors import UserError
from tellsign.leaks import bits_per_pixel, bits_per_pixel_auc
from tellsign.published import Quoted, load
from tellsign.runtime import folder_beside, read_rows
from tellsign.tables import FORMATS, build


def what_files_reveal(benchmark: str, index: Path) -> str:
    """A footnote: files left out, and how well bits per pixel of the test files alone tell fake from real."""
    listed = read_rows(index).to_pylist()
    rows = [row for row in listed if row["part"] == "test" and row["status"] == "ok"]
    spent = bits_per_pixel(*(np.array([row[name] for row in rows]) for name in ("bytes", "height", "width")))
    bits: dict[str, tuple[list[float], list[float]]] = {}
    for row, value in zip(rows, spent.tolist(), strict=True):
        bits.setdefault(row["subset"], ([], []))[row["label"]].append(value)
    told = [
        f"{subset} {bits_per_pixel_auc(np.array(real), np.array(fake)):.2f}"
        for subset, (real, fake) in sorted(bits.items())
        if real and fake
    ]
    dropped = len({row["path"] for row in listed if row["status"] != "ok"})
    left_out = (
        f"{dropped} of {benchmark}'s {len({row['path'] for row in listed})} files cannot be used and were left out; "
        f"data/index/{index.stem}.bad.csv names them. "
    )
    return (left_out if dropped else "") + (
        f"Bits per pixel of {benchmark}'s test files alone tell fake from real with AUC {', '.join(told)} "
        "(0.5 is chance; above it fakes cost more bits)."
    )


def main(
    *,
    settings: dict,
    metrics: list[Path],
    out: Path,
    indexes: dict[str, Path] | None = None,
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
    sizes = [what_files_reveal(name, path) for name, path in (indexes or {}).items()]
    document = build(settings | {"footnotes": [*settings.get("footnotes", ()), *sizes]}, rows, quoted)
    with folder_beside(out) as folder:
        for ending, write in FORMATS.items():
            (folder / f"table.{ending}").write_text(write(document), encoding="utf-8", newline="\n")
