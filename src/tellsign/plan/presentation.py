"""What the plan asks of tables and figures: whether a specification can be right, and which numbers a table shows.

The one place where the plan meets their modules, none of which draws or writes when it is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tellsign.results.tables.specification import (
    NUMBER_KEYS,
    RUNS,
    left_out,
    numbers_of_cell,
    read_spec,
    released,
    runs_of,
    subtracted,
)

__all__ = ["RUNS", "Cell", "cells", "check_cell", "sides"]


class Cell(NamedTuple):
    """What a cell of a table shows.

    Attributes:
        runs: The runs whose numbers it shows.
        wanted: What it says of a number, key by key; None takes the only one that there is.
    """

    runs: tuple[str, ...]
    wanted: tuple[tuple[str, str | None], ...]


def cells(settings: Mapping[str, Any]) -> Iterator[Cell]:
    """The cells of a table that show numbers of runs.

    Args:
        settings: The table's, as `tellsign.schema.tables.table_settings` completes them.
    """
    spec = read_spec(settings)
    for row in spec.rows:
        for column in spec.columns or (None,):
            select = {**spec.select, **(column.select if column else {}), **row.select}
            if spec.run_at and column:
                select["run"] = spec.run_at.get((row.label, column.group or column.label))
            for side in sides(select):
                if runs := tuple(runs_of(side)):
                    for subset in left_out(side) or [side["subset"]]:
                        yield Cell(runs, tuple((key, {**side, "subset": subset}[key]) for key in NUMBER_KEYS))


def sides(select: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a cell selects, what is subtracted from it, and the released checkpoint beside it, where there are such."""
    return [select, *(side for side in (subtracted(select), released(select)) if side is not None)]


def check_cell(cell: Cell, numbers: Mapping[str, Sequence[Mapping[str, str | None]]], paper: str, where: str) -> None:
    """Refuse a cell that no number will fit, or numbers of two test sets.

    Args:
        cell: The cell.
        numbers: What is known of each run's numbers, by ``paper/name``; a value that is None may turn out to be any.
        paper: The paper of runs that name none.
        where: The table, for messages.

    Raises:
        UserError: names the run, the first key that fails, its near miss and what is known.
    """
    for name in cell.runs:
        full = name if "/" in name else f"{paper}/{name}"
        numbers_of_cell(numbers[full], dict(cell.wanted), f"{where}: run {full}")
