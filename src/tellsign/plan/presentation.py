"""What the plan asks of tables and figures: whether a specification can be right, and which numbers a table shows.

The one place where the plan meets their modules, none of which draws or writes when it is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tellsign.results.tables.specification import read_spec, runs_of


class Cell(NamedTuple):
    """What a cell of a table shows of each run in it; null takes the only one that there is."""

    runs: tuple[str, ...]
    metric: str
    benchmark: str | None
    perturbation: str | None
    checkpoint: str | None
    subset: str | None
    protocol: str


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
            runs = tuple(runs_of(select))
            # a column of subsets shows every metric, a column of metrics its own
            for metric in [select["metric"]] if "metric" in select else spec.metrics:
                if runs:
                    keys = ("benchmark", "perturbation", "checkpoint", "subset", "protocol")
                    yield Cell(runs, metric, *(select[key] for key in keys))
