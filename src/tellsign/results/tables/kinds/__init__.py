"""Kinds of tables: what the rows and columns of each select, and where its sections are laid out.

To add one, write its module beside this one, with a function from a `tellsign.results.tables.layout.Draft` to its
sections, and its line below. ``metrics`` is the shortest example; what a `Draft` offers (cells, texts, sections) is
in ``layout``. The schema accepts the new kind, and the plan checks its tables before any job, without importing its
module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from tellsign.registry import Record, Registry


@dataclass(frozen=True, kw_only=True)
class TableKind(Record):
    """A kind of table.

    Attributes:
        rows, columns: What a plain name of a row or column selects.
    """

    rows: str
    columns: str


_HERE = "tellsign.results.tables.kinds"

TABLE_KINDS = Registry(
    "kind of table",
    {
        "subsets": TableKind(f"{_HERE}.subsets", "by_subset", rows="run", columns="subset"),
        "methods": TableKind(f"{_HERE}.methods", "side_by_side", rows="run", columns="subset"),
        "runs": TableKind(f"{_HERE}.metrics", "metrics_side_by_side", rows="run", columns="metric"),
        "grid": TableKind(f"{_HERE}.metrics", "a_section_a_column", rows="run", columns="metric"),
        "robustness": TableKind(f"{_HERE}.metrics", "metrics_side_by_side", rows="perturbation", columns="metric"),
        "protocols": TableKind(f"{_HERE}.metrics", "metrics_side_by_side", rows="protocol", columns="metric"),
        "claims": TableKind(f"{_HERE}.claims", "claims", rows="run", columns="metric"),
    },
)
"""What makes a table's sections, by its kind."""


def plain_names(kind: str) -> tuple[str, str]:
    """What a plain name of a row and of a column of a kind selects."""
    record = cast(TableKind, TABLE_KINDS.find(kind))
    return record.rows, record.columns
