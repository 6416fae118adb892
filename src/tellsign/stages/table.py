"""Make one table of a paper: quoted, ours ± deviation, delta and cost.

Reads:
  --metrics    Parquet files of evaluate, one a run that the table names.
  --published  CSV of the paper's printed numbers; needed only where the table quotes.

Settings: the table's specification (see tellsign.tables), with banner, comparable and the runs' recipes.

Writes:
  --out  folder: table.csv (every number in long form, with its digests), table.md, table.tex (needs booktabs,
         graphicx) and table.html (a page of its own). Equal inputs give equal bytes.
"""

from __future__ import annotations

from pathlib import Path

from tellsign.errors import UserError
from tellsign.published import Quoted, load
from tellsign.runtime import folder_beside, read_rows
from tellsign.tables import FORMATS, build


def main(*, settings: dict, metrics: list[Path], out: Path, published: Path | None = None) -> None:
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
    document = build(settings, rows, quoted)
    with folder_beside(out) as folder:
        for ending, write in FORMATS.items():
            (folder / f"table.{ending}").write_text(write(document), encoding="utf-8", newline="\n")
