"""What a configuration may say of a table, and what that means for its rows, columns and cells.

`table_settings` checks a table and completes it: every row and column with its label, what it selects of the metrics
and where its printed numbers stand. The stage is given the completed form, so that a fingerprint holds what is meant,
not how it was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from tellsign.errors import UserError, near_miss
from tellsign.results.tables.kinds import TABLE_KINDS, plain_names
from tellsign.schema.fields import Named, Several
from tellsign.schema.lines import (
    METRIC_LABELS,
    Axis,
    Line,
    Names,
    PrintedAt,
    RunsOrGrid,
    Selection,
    as_list,
    known_metric,
)
from tellsign.schema.loading import build
from tellsign.schema.paper_files import runs_of_grids


class Table(Selection):
    """A table of a paper file.

    Attributes:
        title, caption, footnotes: Texts.
        kind: ``subsets`` (rows are runs, columns the subsets and their mean; two metrics share a cell), ``methods``
            (the same of one metric, with intervals and numbers of images; for runs of several files), ``runs`` (rows
            are runs, columns what ``columns`` says), ``grid`` (rows and perhaps columns are fields of the recipes of a
            grid's runs), ``robustness`` (as ``runs``, rows are perturbations), ``protocols`` (as ``runs``, rows are
            ways to turn the same scores into numbers), ``claims`` (rows are sentences of the paper, each of its own
            metric: whether ours is above 0, and whether it is as large as the printed number).
        metric: Name of a metric, or a list.
        rows: A list, or the axis of a grid.
        columns: A list, or the axis of a grid; null takes the subsets of the first run, or ``metric``.
        grid: Name of the grid, or a list of names.
        quoted: Where the printed numbers stand, as far as common to all cells; a plain name is the artifact. Null:
            no printed number.
        spread: What stands after ±: the deviation over ``seeds``, or over the kept ``epochs`` (as LoL prints it), with
            that over seeds and the lowest epoch beside it.
        why: Replaces the footnote that says why there are no differences.
        cost: Show how many images (images times epochs) the training saw, a cost that every repetition shares.
    """

    title: str
    kind: str = Field(json_schema_extra={"enum": list(TABLE_KINDS)})
    metric: Names
    rows: Several[str | Line] | Axis
    columns: Several[str | Line] | Axis | None = None
    grid: Names | None = None
    quoted: str | PrintedAt | None = None
    caption: str = ""
    spread: Literal["seeds", "epochs"] = "seeds"
    why: str = ""
    cost: bool = True
    footnotes: Several[str] = ()

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        if kind == "pairs":
            raise ValueError("'pairs' is now 'subsets'. List two metrics, and they share a cell.")
        if kind not in TABLE_KINDS:
            listed = ", ".join(sorted(TABLE_KINDS))
            raise ValueError(f"unknown kind of table {kind!r}.{near_miss(kind, TABLE_KINDS)} Known: {listed}.")
        return kind

    @field_validator("metric")
    @classmethod
    def _known_metrics(cls, metric: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for name in as_list(metric):
            known_metric(name)
        return metric


class PlannedTable(Table):
    """A table with what the plan adds.

    Attributes:
        paper, name: Of the table.
        comparable: Ours is measured on the paper's benchmark, so that differences mean something.
        banner: Stands above the table in every format.
        recipes: Recipes of the runs that the table names.
    """

    paper: str
    name: str
    comparable: bool = False
    banner: str = ""
    recipes: Named[Any] = Field(default_factory=dict)


SELECTION = frozenset({*Selection.model_fields, "metric"})
"""What is said of cells, as the keys of ``select``."""

WITHOUT_RELEASED = ("claims", "methods")
"""Kinds of tables that show no released checkpoints beside ours."""

Slice = dict[str, Any]
"""A completed row or column: label, group, select, quoted, and why nothing is run for it."""


def table_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """Check a table and complete it.

    Returns:
        paper, name, title, kind, caption, banner, spread, comparable, why, cost and footnotes as they are written;
        ``metrics`` and ``metric_labels``; ``select`` and ``quoted``, which hold for every cell; ``rows`` and
        ``columns`` with what a `tellsign.results.tables.specification.Slice` holds; for a grid of two axes ``run_at``,
        (row, column, run) of every cell; ``corner``, what a grid's rows are; ``across``, what its columns are.

    Raises:
        UserError: an unknown or missing key, kind or field; the message names the table.
    """
    where = f"table {data.get('name', '?')}"
    table = build(PlannedTable, data, where)
    metrics = as_list(table.metric)
    run_at: list[tuple[str, str, str]] = []
    if table.kind == "grid":
        rows, columns, run_at = _grid(table, where)
    else:
        rows, columns = _rows(table, where), _columns(table, where)
    texts = ("paper", "name", "title", "kind", "caption", "banner", "spread", "comparable", "why", "cost")
    common = {"perturbation": "none", "checkpoint": "last", "subset": "mean", "benchmark": None, "protocol": ""}
    common |= {"without": []}
    rows_are, columns_are = (axis if isinstance(axis, Axis) else None for axis in (table.rows, table.columns))
    return {
        **{key: getattr(table, key) for key in texts},
        "footnotes": list(table.footnotes),
        "metrics": metrics,
        "metric_labels": [METRIC_LABELS[metric] for metric in metrics],
        "select": common | {key: value for key, value in _select(table, ()).items() if key != "metric"},
        "quoted": _printed_at(table.quoted, "artifact"),
        "rows": rows,
        "columns": columns,
        "run_at": [list(place) for place in run_at],
        "corner": _axis_label(rows_are),
        "across": _axis_label(columns_are),
    }


def _select(said: RunsOrGrid | Table, known: Sequence[str]) -> dict[str, Any]:
    """What is said of a cell, as plain data; what is not said is left to the column or table.

    Args:
        said: A table, row, column, or what is subtracted from one.
        known: Names of the runs that a grid may be made of.
    """
    chosen = said.model_dump(include=set(SELECTION), exclude_unset=True)
    select = {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items()}
    if isinstance(said, RunsOrGrid) and said.grid is not None:
        select["runs"] = [*runs_of_grids(known, as_list(said.grid)), *said.runs]
    if isinstance(said, Line) and said.released is not None:
        select["released"] = said.released
    if isinstance(said, Line) and said.less is not None:
        select["less"] = _select(said.less, known)
    return select


def _printed_at(quoted: str | PrintedAt | None, short: str) -> dict[str, str] | None:
    if quoted is None:
        return None
    return {short: quoted} if isinstance(quoted, str) else quoted.model_dump(exclude_unset=True)


def _axis_label(axis: Axis | None) -> str:
    return "" if axis is None else axis.label or axis.field


# ---------------------------------------------------------------------------------------------- lists of rows, columns


def _rows(table: PlannedTable, where: str) -> list[Slice]:
    """A row's printed number needs a name of its own."""
    if isinstance(table.rows, Axis):
        raise UserError(f"{where}: the rows of kind {table.kind} are a list; only a grid's are a field of the recipes.")
    if table.kind in WITHOUT_RELEASED and any(isinstance(row, Line) and row.released for row in table.rows):
        raise UserError(f"{where}: kind {table.kind} has no column for released checkpoints; leave out 'released'.")
    plain, _ = plain_names(table.kind)
    known = list(table.recipes)
    return [
        _slice(row, plain, "method", None, known, f"{where}, row {number}") for number, row in enumerate(table.rows, 1)
    ]


def _columns(table: PlannedTable, where: str) -> list[Slice]:
    """A column of metrics needs no name of its own among the printed numbers, a subset does."""
    if isinstance(table.columns, Axis):
        raise UserError(f"{where}: the columns of kind {table.kind} are a list.")
    _, plain = plain_names(table.kind)
    short, quoted = ("subset", None) if plain == "subset" else ("setting", {})
    columns = table.columns
    if columns is None:
        columns = () if plain == "subset" else tuple(as_list(table.metric))
    return [
        _slice(column, plain, short, quoted, (), f"{where}, column {number}")
        for number, column in enumerate(columns, 1)
    ]


def _slice(
    line: str | Line, plain: str, short: str, quoted: dict[str, str] | None, runs: Sequence[str], where: str
) -> Slice:
    """A completed row or column.

    Args:
        line: As it is written; a plain name stands for ``{plain: name}``.
        plain: What a plain name selects.
        short: What a plain name stands for under ``quoted``.
        quoted: Where the printed numbers stand if the line does not say it.
        runs: Names of the runs that a grid may be made of.
        where: Names the line.
    """
    line = build(Line, {plain: line}, where) if isinstance(line, str) else line
    select = _select(line, runs)
    if "quoted" in line.model_fields_set:
        quoted = _printed_at(line.quoted, short)
    named = line.label or select.get(plain) or next(iter((quoted or {}).values()), None)
    if named is None:
        raise UserError(f"{where}: needs a label, a {plain} or a quoted name.")
    label = METRIC_LABELS.get(str(named), str(named)) if plain == "metric" else str(named)
    return {"label": label, "group": line.group, "select": select, "quoted": quoted, "why": line.why}


# ---------------------------------------------------------------------------------------------- grids


def _grid(table: PlannedTable, where: str) -> tuple[list[Slice], list[Slice], list[tuple[str, str, str]]]:
    """Rows, columns and, where both are fields of recipes, the run of each cell."""
    names = as_list(table.grid or ())
    runs = {name: table.recipes[name] for name in runs_of_grids(list(table.recipes), names)}
    if not runs:
        grid, known = table.grid or "", ", ".join(table.recipes) or "none"
        raise UserError(f"{where}: no runs of grid {grid!r}. Known runs: {known}.")
    if not isinstance(table.rows, Axis):
        raise UserError(f"{where}: the rows of a grid are a mapping with the key 'field'.")
    rows, row_of = _axis(table.rows, runs, "method", f"{where}, rows")
    if not isinstance(table.columns, Axis):
        run_of: dict[str, str] = {}
        for run, label in row_of.items():
            if label in run_of:
                raise UserError(f"{where}: runs {run_of[label]} and {run} both stand at {label}.")
            run_of[label] = run
        return [row | {"select": {"run": run_of[row["label"]]}} for row in rows], _columns(table, where), []
    columns, column_of = _axis(table.columns, runs, "setting", f"{where}, columns")
    run_at: dict[tuple[str, str], str] = {}
    for run in runs:
        at = (row_of[run], column_of[run])
        if at in run_at:
            raise UserError(f"{where}: runs {run_at[at]} and {run} both stand at {at[0]} x {at[1]}.")
        run_at[at] = run
    metrics = as_list(table.metric)
    if len(metrics) > 1:
        columns = [
            column | {"group": column["label"], "label": METRIC_LABELS[metric], "select": {"metric": metric}}
            for column in columns
            for metric in metrics
        ]
    return rows, columns, [(*at, run) for at, run in run_at.items()]


def _axis(axis: Axis, runs: Mapping[str, Any], short: str, where: str) -> tuple[list[Slice], dict[str, str]]:
    """Rows or columns of a grid, numbers in their order, others in the runs'; and each run's label on the axis."""
    value_of = {run: _field(recipe, axis.field, where) for run, recipe in runs.items()}
    if all(_is_number(number) for value in value_of.values() for number in as_list(value)):
        value_of = dict(sorted(value_of.items(), key=lambda pair: as_list(pair[1])))  # 80 before 160
    text_of = {run: _as_printed(value) for run, value in value_of.items()}
    slices = []
    for text in dict.fromkeys(text_of.values()):
        printed = text if axis.quoted is None else axis.quoted.get(text)
        label = axis.names.get(text, text)
        slices.append({"label": label, "group": "", "select": {}, "quoted": {short: printed} if printed else None})
    return slices, {run: axis.names.get(text, text) for run, text in text_of.items()}


def _field(recipe: Mapping[str, Any], dotted: str, where: str) -> Any:
    value: Any = recipe
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = list(value) if isinstance(value, Mapping) else []
            raise UserError(f"{where}: recipes have no field {dotted!r} (at {part!r}).{near_miss(part, known)}")
        value = value[part]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _as_printed(value: Any) -> str:
    """A recipe's value as the papers print it: ``(0.6, 0.8)``."""
    return f"({', '.join(str(part) for part in value)})" if isinstance(value, (list, tuple)) else str(value)
