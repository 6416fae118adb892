"""Tables: a specification, metrics and printed numbers in; a document out, as CSV, Markdown, LaTeX or HTML.

A printed (quoted) number and one of ours never share a column. A difference between them is shown only where
both were measured on the same benchmark. Equal inputs give equal text.

The specification is a mapping (a table of a paper's configuration and what the plan adds):

title, caption, footnotes: texts. banner: stands above the table in every format.

kind: ``subsets`` (rows are runs, columns the subsets and their mean), ``pairs`` (the same with two metrics in
a cell), ``runs`` (rows are runs, columns what ``columns`` says), ``grid`` (rows and perhaps columns are
fields of the recipes of a grid's runs), ``robustness`` (as ``runs``, rows are perturbations), ``protocols`` (as
``runs``, rows are ways to turn the same scores into numbers).

metric: a name or a list of names of `tellsign.evaluation.metrics.METRICS`.

rows: list of ``{label, run | runs | grid, quoted, group, ...}``; several ``runs``, and those of a ``grid``, are
averaged. A row with nothing but ``quoted`` is a printed one that was not run.

columns: list of ``{label, quoted, group, ...}`` or of plain names (subsets; metrics in the last three kinds).
Null takes the subsets of the first run, or ``metric``.

grid: name of the grid, or a list of names. Its ``rows``, and perhaps its ``columns``, are ``{field: mask.ratio,
label: mask ratio, names: {value: label}, quoted: {value: printed}}``; without ``quoted`` the printed name is the
value's.

quoted: where the printed numbers stand, ``{artifact, method, setting, subset, metric}``, as far as common to
all cells; a name alone is the artifact. A row's ``quoted: NAME`` is short for ``{method: NAME}``, a column's
for ``{subset: NAME}`` (subsets, pairs) or ``{setting: NAME}`` (the other kinds). Null: no printed number.

run, runs, benchmark, perturbation, subset, checkpoint, protocol: what a cell shows; a column and then a row may
say otherwise. Null as benchmark (the default) or perturbation takes the only one that the run was tested on. A
protocol holds the fields of `tellsign.schema.evaluation.Evaluate` that differ from the configuration's; the
plan puts its name in its place.

spread: what stands after ±, ``seeds`` or ``epochs`` (over the kept epochs, as LoL prints it).

comparable: ours is measured on the paper's benchmark; if not, ``why`` replaces the footnote that says so.

cost: show how many images (images times epochs) the training saw, a cost that every repetition shares.
"""

from __future__ import annotations

import csv
import html
import io
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tellsign.errors import UserError, choose, near_miss
from tellsign.results.published import KEYS, Quoted, lookup, mean
from tellsign.schema.paper_files import runs_of_grids

DASH, TIMES = "–", "±"

LABELS: dict[str, str] = {
    "accuracy": "accuracy",
    "accuracy_real": "accuracy on reals",
    "accuracy_fake": "accuracy on fakes",
    "accuracy_oracle": "accuracy, oracle threshold",
    "accuracy_gain": "gain in accuracy",
    "ap_fake": "AP (fake positive)",
    "ap_real": "AP (real positive)",
    "auc": "AUC",
    "ece": "calibration error",
}
"""Heading of each metric; all are shown in percent."""

PRINTED = {"accuracy": "accuracy", "ap_fake": "ap", "ap_real": "ap"}
"""Name of a metric among the printed numbers. The papers do not say for which class they compute AP."""

SELECTION = ("run", "runs", "benchmark", "subset", "perturbation", "checkpoint", "protocol", "metric")
SPECIFICATION = (
    "paper", "name", "title", "caption", "kind", "metric", "rows", "columns", "quoted", "grid", "run", "runs",
    "benchmark", "subset", "perturbation", "checkpoint", "protocol", "spread", "comparable", "why", "cost", "banner",
    "footnotes", "recipes",
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- the document


@dataclass(frozen=True)
class Number:
    """One number of a table with all that is known about it; a row of the CSV.

    ``value``, ``sd``, ``low`` and ``high`` are percent, a delta is percentage points; NaN is nothing known.
    """

    row: str
    column: str
    source: str
    value: float
    metric: str
    sd: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0
    run: str = ""
    benchmark: str = ""
    subset: str = ""
    perturbation: str = ""
    checkpoint: str = ""
    epochs: int = 0
    threshold_rule: str = ""
    n_real: int = 0
    n_fake: int = 0
    images_seen: float = math.nan
    recipe: str = ""
    code: str = ""
    data: str = ""
    protocol: str = ""
    printed: str = ""
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A heading; neighbours of the same group are drawn under one."""

    group: str
    name: str


@dataclass(frozen=True)
class Line:
    """A row of text cells; a heading line has one cell."""

    cells: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """One grid of a table: the first column holds the rows' labels."""

    heading: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Document:
    """A table, ready to be written in any format."""

    paper: str
    name: str
    title: str
    caption: str
    banner: str
    panels: tuple[Panel, ...]
    footnotes: tuple[str, ...]
    numbers: tuple[Number, ...]


# ---------------------------------------------------------------------------------------------- specification


@dataclass(frozen=True)
class Entry:
    """A row or column: its label, what it selects, and where its printed numbers stand."""

    label: str
    group: str
    select: Mapping[str, Any]
    quoted: Mapping[str, str] | None


@dataclass(frozen=True)
class Spec:
    """A checked specification; see the module's text."""

    paper: str
    name: str
    title: str
    kind: str
    rows: tuple[Entry, ...]
    columns: tuple[Entry, ...]
    metrics: tuple[str, ...]
    select: Mapping[str, Any]
    quoted: Mapping[str, str] | None
    caption: str = ""
    spread: str = "seeds"
    comparable: bool = False
    why: str = ""
    cost: bool = True
    banner: str = ""
    footnotes: tuple[str, ...] = ()
    corner: str = ""
    heading: str = ""


def _strict(held: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    allowed = list(known)
    for key in held:
        if key not in allowed:
            listed = ", ".join(allowed)
            raise UserError(f"{where}: unknown key {key!r}.{near_miss(key, allowed)} Known: {listed}.")


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _quoted(value: Any, short: str, where: str) -> dict[str, str] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return {short: value}
    _strict(value, KEYS, f"{where}, quoted")
    return dict(value)


def _row(value: Any, plain: str, where: str) -> Entry:
    return _entry(value, plain, "method", None, where)


def _of_grid(row: Any, known: Sequence[str]) -> Any:
    """A row with the runs of the grid that it names, besides those that it names itself."""
    if not isinstance(row, Mapping) or "grid" not in row:
        return row
    rest = {key: value for key, value in row.items() if key != "grid"}
    return rest | {"runs": [*runs_of_grids(known, row["grid"]), *row.get("runs", ())]}


def _column(value: Any, plain: str, where: str) -> Entry:
    # a column of metrics needs no name of its own among the printed numbers, a subset does
    short, default = ("subset", None) if plain == "subset" else ("setting", {})
    return _entry(value, plain, short, default, where)


def _entry(value: Any, plain: str, short: str, quoted: dict[str, str] | None, where: str) -> Entry:
    """Read a row or column; a plain name stands for ``{plain: name}``, ``quoted`` holds by default."""
    held = {plain: value} if isinstance(value, str) else dict(value)
    _strict(held, ("label", "group", "quoted", *SELECTION), where)
    select = {key: held[key] for key in SELECTION if key in held}
    if "quoted" in held:
        quoted = _quoted(held["quoted"], short, where)
    named = held.get("label") or select.get(plain) or next(iter((quoted or {}).values()), None)
    if named is None:
        raise UserError(f"{where}: needs a label, a {plain} or a quoted name.")
    label = LABELS.get(str(named), str(named)) if plain == "metric" else str(named)
    return Entry(label, str(held.get("group", "")), select, quoted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _name(value: Any) -> str:
    """A recipe's value as the papers print it: ``(0.6, 0.8)``."""
    return f"({', '.join(str(v) for v in value)})" if isinstance(value, (list, tuple)) else str(value)


def _field(recipe: Mapping[str, Any], dotted: str, where: str) -> Any:
    value: Any = recipe
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = list(value) if isinstance(value, Mapping) else []
            raise UserError(f"{where}: recipes have no field {dotted!r} (at {part!r}).{near_miss(part, known)}")
        value = value[part]
    return value


def _axis(
    axis: Mapping[str, Any], runs: Mapping[str, Mapping], short: str, where: str
) -> tuple[list[Entry], dict[str, str]]:
    """Entries of a grid's axis in the order of the runs, and each run's label on it."""
    _strict(axis, ("field", "label", "names", "quoted"), where)
    if "field" not in axis:
        raise UserError(f"{where}: needs the recipe's field that it shows, such as field: mask.ratio.")
    held = {run: _field(recipe, axis["field"], where) for run, recipe in runs.items()}
    if all(_is_number(number) for value in held.values() for number in _as_list(value)):
        held = dict(sorted(held.items(), key=lambda pair: _as_list(pair[1])))  # 80 before 160
    values = {run: _name(value) for run, value in held.items()}
    names, printed = axis.get("names", {}), axis.get("quoted")
    entries = []
    for value in dict.fromkeys(values.values()):
        found = value if printed is None else printed.get(value)
        entries.append(Entry(names.get(value, value), "", {}, {short: found} if found else None))
    return entries, {run: names.get(value, value) for run, value in values.items()}


KINDS: dict[str, tuple[str, str]] = {
    "subsets": ("run", "subset"),
    "pairs": ("run", "subset"),
    "runs": ("run", "metric"),
    "grid": ("run", "metric"),
    "robustness": ("perturbation", "metric"),
    "protocols": ("protocol", "metric"),
}
"""What a plain name of a row and of a column stands for."""


def read_spec(settings: Mapping[str, Any]) -> tuple[Spec, dict[tuple[str, str], str]]:
    """Check a specification.

    Returns:
        The specification, and for a grid the run at each (row label, column label).

    Raises:
        UserError: an unknown or missing key, kind or field; the message names the table.
    """
    where = f"table {settings.get('name', '?')}"
    _strict(settings, SPECIFICATION, where)
    for key in ("paper", "name", "title", "kind", "metric", "rows"):
        if key not in settings:
            raise UserError(f"{where}: key {key!r} is missing.")
    kind = settings["kind"]
    row_name, column_name = choose(KINDS, kind, f"kind of {where}")
    metrics = tuple(_as_list(settings["metric"]))
    for metric in metrics:
        choose(LABELS, metric, f"metric of {where}")
    if (settings.get("spread", "seeds")) not in ("seeds", "epochs"):
        raise UserError(f"{where}: spread is {settings['spread']!r}. Known: seeds, epochs.")
    columns = settings.get("columns")
    cells: dict[tuple[str, str], str] = {}
    if kind == "grid":
        rows, columns, cells = _grid(settings, metrics, where)
    else:
        known = list(settings.get("recipes", {}))
        rows = [_row(_of_grid(row, known), row_name, f"{where}, row {n}") for n, row in enumerate(settings["rows"], 1)]
        if columns is None:
            columns = [] if column_name == "subset" else list(metrics)
        columns = [_column(one, column_name, f"{where}, column {n}") for n, one in enumerate(columns, 1)]
    rest = ("paper", "name", "title", "caption", "spread", "comparable", "why", "cost", "banner")
    select = {"perturbation": "none", "checkpoint": "last", "subset": "mean", "benchmark": None, "protocol": ""}
    select |= {key: settings[key] for key in SELECTION if key in settings and key != "metric"}
    return Spec(
        kind=kind,
        rows=tuple(rows),
        columns=tuple(columns),
        metrics=metrics,
        select=select,
        quoted=_quoted(settings.get("quoted"), "artifact", where),
        footnotes=tuple(settings.get("footnotes", ())),
        corner=_axis_label(settings["rows"]),
        heading=_heading(settings, metrics),
        **{key: settings[key] for key in rest if key in settings},
    ), cells


def _axis_label(axis: Any) -> str:
    return str(axis.get("label", axis.get("field", ""))) if isinstance(axis, Mapping) else ""


def _heading(settings: Mapping[str, Any], metrics: Sequence[str]) -> str:
    """What the columns of a two-way grid show."""
    columns = settings.get("columns")
    if not isinstance(columns, Mapping):
        return ""
    return f"{' / '.join(LABELS[metric] for metric in metrics)}; columns: {_axis_label(columns)}"


def _grid(
    settings: Mapping[str, Any], metrics: Sequence[str], where: str
) -> tuple[list[Entry], list[Entry], dict[tuple[str, str], str]]:
    recipes = settings.get("recipes", {})
    grid = settings.get("grid", "")
    runs = {name: recipes[name] for name in runs_of_grids(list(recipes), grid)}
    if not grid or not runs:
        raise UserError(f"{where}: no runs of grid {grid!r}. Known runs: {', '.join(recipes) or 'none'}.")
    if not isinstance(settings["rows"], Mapping):
        raise UserError(f"{where}: the rows of a grid are a mapping with the key 'field'.")
    rows, row_of = _axis(settings["rows"], runs, "method", f"{where}, rows")
    columns = settings.get("columns") or list(metrics)
    if not isinstance(columns, Mapping):
        entries = [_column(one, "metric", f"{where}, column {n}") for n, one in enumerate(columns, 1)]
        return [replace(row, select={"run": run}) for row, run in _one_each(rows, row_of, where)], entries, {}
    entries, column_of = _axis(columns, runs, "setting", f"{where}, columns")
    cells: dict[tuple[str, str], str] = {}
    for run in runs:
        at = (row_of[run], column_of[run])
        if at in cells:
            raise UserError(f"{where}: runs {cells[at]} and {run} both stand at {at[0]} x {at[1]}.")
        cells[at] = run
    if len(metrics) > 1:
        entries = [
            replace(entry, group=entry.label, label=LABELS[metric], select={"metric": metric})
            for entry in entries
            for metric in metrics
        ]
    return rows, entries, cells


def _one_each(rows: Sequence[Entry], row_of: Mapping[str, str], where: str) -> list[tuple[Entry, str]]:
    by_label: dict[str, str] = {}
    for run, label in row_of.items():
        if label in by_label:
            raise UserError(f"{where}: runs {by_label[label]} and {run} both stand at {label}.")
        by_label[label] = run
    return [(row, by_label[row.label]) for row in rows]


# ---------------------------------------------------------------------------------------------- numbers


class Measured:
    """Metrics rows, found by what a cell selects.

    Args:
        rows: rows of the metrics files, as `tellsign.stages.evaluate` writes them.
        paper: the paper whose runs need no prefix.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], paper: str) -> None:
        self.paper = paper
        self.runs: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            self.runs.setdefault(f"{row['paper']}/{row['run']}", []).append(row)

    def find(self, run: str, select: Mapping[str, Any], metric: str) -> list[Mapping[str, Any]]:
        """The rows of one cell, one a seed.

        Raises:
            UserError: nothing fits; the message names the first key that fails and its near miss.
        """
        full = run if "/" in run else f"{self.paper}/{run}"
        left = choose(self.runs, full, "run in the metrics")
        wanted = {key: select[key] for key in ("protocol", "perturbation", "benchmark", "checkpoint", "subset")}
        for key, value in (wanted | {"metric": metric}).items():
            known = sorted({str(row[key]) for row in left})
            listed = ", ".join(known)
            if value is None and len(known) > 1:
                raise UserError(f"run {full} was tested on {listed}: the table must say which {key}.")
            left = left if value is None else [row for row in left if row[key] == value]
            if not left:
                problem = f"run {full} has no metrics of {key} {value!r}.{near_miss(str(value), known)}"
                hints = {
                    "mean": " Keep more than one epoch in its recipe (keep).",
                    "best": " Name a test set that chooses (protocol: {validation: NAME}).",
                }
                hint = hints.get(str(value), "") if key == "checkpoint" else ""
                raise UserError(f"{problem}{hint} Known: {listed}.")
        return sorted(left, key=lambda row: row["seed"])

    def subsets(self, run: str, select: Mapping[str, Any], metric: str) -> list[str]:
        """The subsets of a run's test set, in the order of its metrics."""
        benchmark = self.find(run, {**select, "subset": "mean"}, metric)[0]["benchmark"]
        full = run if "/" in run else f"{self.paper}/{run}"
        named = [row["subset"] for row in self.runs[full] if row["benchmark"] == benchmark]
        return [name for name in dict.fromkeys(named) if name != "mean"]


def _joined(rows: Iterable[Mapping[str, Any]], key: str) -> str:
    return "; ".join(dict.fromkeys(str(row[key]) for row in rows))


def summarise(measured: Measured, runs: Sequence[str], select: Mapping[str, Any], metric: str, spread: str) -> Number:
    """One number of ours: the mean over seeds (of the mean over runs) in percent.

    ``sd`` is the standard deviation over seeds (n - 1; NaN for one seed) or the mean spread over epochs.
    ``low`` and ``high`` are the means over seeds of the interval's ends: they speak of the test images alone.

    Raises:
        UserError: a run without such metrics, or runs of different seeds.
    """
    by_run = [measured.find(run, select, metric) for run in runs]
    seeds = [row["seed"] for row in by_run[0]]
    for run, rows in zip(runs, by_run, strict=True):
        if [row["seed"] for row in rows] != seeds:
            raise UserError(f"runs {runs[0]} and {run} share a cell but were trained with different seeds.")

    def percent(key: str) -> float:
        return 100 * statistics.fmean(row[key] for rows in by_run for row in rows)

    each = [100 * statistics.fmean(rows[k]["value"] for rows in by_run) for k in range(len(seeds))]
    sd = statistics.stdev(each) if len(each) > 1 else math.nan
    everything = [row for rows in by_run for row in rows]
    first = everything[0]
    return Number(
        row="",
        column="",
        source="ours",
        value=statistics.fmean(each),
        metric=metric,
        sd=percent("spread") if spread == "epochs" else sd,
        low=percent("low"),
        high=percent("high"),
        seeds=len(seeds),
        run="; ".join(runs),
        checkpoint=first["checkpoint"],
        epochs=first["epochs"],
        n_real=first["n_real"],
        n_fake=first["n_fake"],
        images_seen=sum(statistics.fmean(row["images_seen"] for row in rows) for rows in by_run),
        **{
            key: _joined(everything, key)
            for key in ("benchmark", "subset", "perturbation", "threshold_rule", "recipe", "code", "data", "protocol")
        },
    )


@dataclass(frozen=True)
class Cell:
    """What stands at a row, column and metric: ours, the printed number, or neither."""

    ours: Number | None
    quoted: Quoted | None


@dataclass
class Builder:
    """Fills a specification with numbers."""

    spec: Spec
    cells: Mapping[tuple[str, str], str]
    measured: Measured
    published: Sequence[Quoted]
    numbers: dict[tuple[str, ...], Number] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)

    def cell(self, row: Entry, column: Entry, metric: str) -> Cell:
        """Find the numbers of a cell and keep them for the CSV."""
        select = {**self.spec.select, **column.select, **row.select}
        if self.cells:
            select["run"] = self.cells.get((row.label, column.group or column.label))
        runs = _runs(select)
        ours = summarise(self.measured, runs, select, metric, self.spec.spread) if runs else None
        cell = Cell(ours, self.printed(row, column, metric))
        if ours:
            self.keep(row, column, ours)
        if cell.quoted:
            self.keep_quoted(row, column, cell.quoted, metric)
        if ours and cell.quoted and self.spec.comparable:
            delta = replace(ours, source="delta", value=ours.value - cell.quoted.number)
            self.keep(row, column, replace(delta, sd=math.nan, low=math.nan, high=math.nan))
        return cell

    def keep(self, row: Entry, column: Entry, number: Number) -> None:
        """Keep a number for the CSV, once."""
        names = [": ".join(part for part in (entry.group, entry.label) if part) for entry in (row, column)]
        number = replace(number, row=names[0], column=names[1])
        if not self.spec.cost:
            number = replace(number, images_seen=math.nan)
        self.numbers.setdefault((*names, number.source, number.metric, number.printed), number)

    def keep_quoted(self, row: Entry, column: Entry, quoted: Quoted, metric: str) -> None:
        """Keep a printed number for the CSV."""
        printed = " / ".join(part for part in (getattr(quoted, key) for key in KEYS) if part)
        number = Number("", "", "quoted", quoted.number, metric, sd=quoted.spread, subset=quoted.subset)
        self.keep(row, column, replace(number, printed=printed, note=quoted.note))

    def printed(self, row: Entry, column: Entry, metric: str) -> Quoted | None:
        """The printed number of a cell, if its table, row and column name one."""
        if self.spec.quoted is None or row.quoted is None or column.quoted is None or metric not in PRINTED:
            return None
        key = {"setting": "", "subset": "Avg", "metric": PRINTED[metric]}
        key |= {**self.spec.quoted, **column.quoted, **row.quoted}
        for name in ("artifact", "method"):
            if name not in key:
                raise UserError(f"table {self.spec.name}, row {row.label}: quoted needs {name!r}.")
        artifact = [quoted for quoted in self.published if quoted.artifact == key["artifact"]]
        same = {quoted.subset for quoted in artifact if quoted.metric == key["metric"]}
        if artifact and not same:
            return None  # the paper's table does not print this metric at all
        if key["subset"] == "Avg" and same and "Avg" not in same:
            return mean(self.published, **{name: key[name] for name in KEYS if name != "subset"})
        return lookup(self.published, **key)

    # ------------------------------------------------------------------------------------------ text

    def mark(self, text: str) -> str:
        """The mark of a footnote: the same for the same text."""
        signs = "†‡§¶‖"
        if text not in self.marks:
            n = len(self.marks)
            self.marks[text] = signs[n % 5] * (n // 5 + 1)
        return self.marks[text]

    def ours_text(self, cell: Cell, short: bool = False) -> str:
        """``94.5 ± 0.3``; a dash where there is nothing."""
        if cell.ours is None:
            return DASH
        value = f"{cell.ours.value:.1f}"
        return value if short else f"{value} {TIMES} {_digit(cell.ours.sd)}"

    def quoted_text(self, cell: Cell) -> str:
        """The printed digits."""
        if cell.quoted is None:
            return DASH
        text = cell.quoted.value + (f" {TIMES} {cell.quoted.std}" if cell.quoted.std else "")
        note = cell.quoted.note
        return text + (self.mark(f"Quoted: {note}.") if note.startswith(("as printed", "not printed")) else "")

    def delta_text(self, cell: Cell) -> str:
        """Ours less quoted, where they may be compared."""
        if cell.ours is None or cell.quoted is None:
            return DASH
        if self.spec.comparable:
            return f"{cell.ours.value - cell.quoted.number:+.1f}".replace("-", "−")
        why = self.spec.why or (
            f"No difference is given: ours is measured on {cell.ours.benchmark}, the quoted number on the "
            "paper's benchmark."
        )
        return "n/a" + self.mark(why)

    def label(self, row: Entry, ran: bool) -> str:
        """A row's label; rows that were not run are marked."""
        return row.label + ("" if ran else self.mark("Quoted only; not run here."))

    # ------------------------------------------------------------------------------------------ panels

    def lines(self, fill: Callable[[Entry], tuple[str, ...]], rows: Sequence[Entry]) -> tuple[Line, ...]:
        """Lines of a panel with the rows' groups as heading lines."""
        found, group = [], ""
        for row in rows:
            if row.group and row.group != group:
                found.append(Line((row.group,)))
            group = row.group
            found.append(Line(fill(row)))
        return tuple(found)

    def compare(self, columns: Sequence[tuple[Entry, str]], heading: str) -> Panel:
        """Quoted, ours and delta side by side for each column and metric; cost and seeds at the end."""
        spec = self.spec
        heads = [Column("", spec.corner)]
        for column, metric in columns:
            label = LABELS[metric] if spec.kind in ("subsets", "pairs") else column.label
            group = f"{column.group}: {label}" if column.group else label
            heads += [Column(group, name) for name in ("quoted", f"ours {TIMES} sd", "95 % interval", "delta")]
        heads += [Column("", "images seen")] if spec.cost else []
        heads += [Column("", "seeds")]

        def fill(row: Entry) -> tuple[str, ...]:
            cells = [self.cell(row, column, metric) for column, metric in columns]
            ours = [cell.ours for cell in cells if cell.ours]
            text = [self.label(row, bool(ours))]
            for cell in cells:
                span = f"{cell.ours.low:.1f}{DASH}{cell.ours.high:.1f}" if cell.ours else DASH
                text += [self.quoted_text(cell), self.ours_text(cell), span, self.delta_text(cell)]
            text += [_images_seen(ours)] if spec.cost else []
            return (*text, _range([number.seeds for number in ours]) if ours else DASH)

        return Panel(heading, tuple(heads), self.lines(fill, spec.rows))

    def by_subset(self, columns: Sequence[Entry]) -> list[Panel]:
        """Ours by subset, the printed table by its own subsets, and differences where they mean something."""
        spec, panels = self.spec, []
        heads = (Column("", ""), *(Column("", column.label) for column in columns))
        several = len(spec.metrics) > 1
        held: dict[tuple[int, int], list[Cell]] = {}

        def ours(row: Entry) -> tuple[str, ...]:
            text = []
            for column in columns:
                cells = [self.cell(row, column, metric) for metric in spec.metrics]
                held[id(row), id(column)] = cells
                text.append(" / ".join(self.ours_text(cell, short=several) for cell in cells))
            return (row.label, *text)

        ran = [row for row in spec.rows if _runs(row.select)]
        names = " / ".join(LABELS[metric] for metric in spec.metrics)
        panels.append(Panel(f"Ours, by subset: {names}", heads, self.lines(ours, ran)))
        panels += self.quoted_by_subset()
        matched = [column for column in columns if column.quoted]
        both = [row for row in ran if row.quoted]
        if spec.comparable and spec.quoted and matched and both:

            def delta(row: Entry) -> tuple[str, ...]:
                cells = [held[id(row), id(column)] for column in matched]
                return (row.label, *(" / ".join(self.delta_text(cell) for cell in pair) for pair in cells))

            heads = (Column("", ""), *(Column("", column.label) for column in matched))
            panels.append(Panel(f"Delta, by subset: {names}", heads, self.lines(delta, both)))
        return panels

    def quoted_by_subset(self) -> list[Panel]:
        """The printed rows with the printed columns."""
        spec = self.spec
        rows = [row for row in spec.rows if row.quoted]
        if spec.quoted is None or not rows:
            return []
        artifact = {**spec.quoted, **(rows[0].quoted or {})}.get("artifact")
        subsets = list(dict.fromkeys(q.subset for q in self.published if q.artifact == artifact))
        if len(subsets) < 2:
            return []
        columns = [Entry(subset, "", {}, {"subset": subset}) for subset in subsets]
        # both of our APs stand beside the one that is printed
        shown = {PRINTED[metric]: metric for metric in spec.metrics if metric in PRINTED}

        def fill(row: Entry) -> tuple[str, ...]:
            named = {key: name for key, name in (row.quoted or {}).items() if key != "subset"}
            asked = replace(row, select={}, quoted=named)
            text = []
            for column in columns:
                found = [self.printed(asked, column, metric) for metric in shown.values()]
                for quoted, metric in zip(found, shown.values(), strict=True):
                    if quoted and column.label != "Avg":  # kept already, beside our mean
                        self.keep_quoted(row, column, quoted, metric)
                text.append(" / ".join(self.quoted_text(Cell(None, quoted)) for quoted in found))
            return (row.label, *text)

        heads = (Column("", ""), *(Column("", column.label) for column in columns))
        names = " / ".join("AP" if name == "ap" else name for name in shown)
        return [Panel(f"Quoted from the paper, by its test sets: {names}", heads, self.lines(fill, rows))]


def _digit(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.1f}"


def _range(counts: Sequence[int]) -> str:
    """``3``, or ``1–3`` where they differ."""
    return DASH.join(str(count) for count in dict.fromkeys((min(counts), max(counts))))


def _images_seen(numbers: Sequence[Number]) -> str:
    """Images seen in training of the distinct runs of a row."""
    by_run = {number.run: number.images_seen for number in numbers}
    total = sum(by_run.values())
    return DASH if not by_run or math.isnan(total) else f"{total:.0f}"


def build(settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], published: Sequence[Quoted]) -> Document:
    """Make a table.

    Args:
        settings: the specification; see the module's text.
        rows: rows of the metrics files of the runs it names.
        published: the paper's printed numbers.

    Raises:
        UserError: the specification names a run, subset, metric or printed number that is not there.
    """
    spec, cells = read_spec(settings)
    make = Builder(spec, cells, Measured(rows, spec.paper), published)
    if spec.kind in ("subsets", "pairs"):
        panels = _subset_panels(make)
    else:
        columns = [(column, column.select.get("metric", spec.metrics[0])) for column in spec.columns]
        panels = [make.compare(columns, spec.heading)]
    numbers = tuple(make.numbers.values())
    if not any(number.source == "ours" for number in numbers):
        raise UserError(f"table {spec.name}: no row names a run.")
    return Document(
        paper=spec.paper,
        name=spec.name,
        title=spec.title,
        caption=spec.caption,
        banner=spec.banner,
        panels=tuple(panels),
        footnotes=(
            *(f"{sign} {text}" for text, sign in make.marks.items()),
            *_explained(make),
            *spec.footnotes,
        ),
        numbers=numbers,
    )


def _subset_panels(make: Builder) -> list[Panel]:
    spec = make.spec
    first = next((row for row in spec.rows if _runs(row.select)), None)
    if first is None:
        raise UserError(f"table {spec.name}: no row names a run.")
    tested = make.measured.subsets(_runs(first.select)[0], {**spec.select, **first.select}, spec.metrics[0])
    columns = list(spec.columns) or [Entry(name, "", {"subset": name}, None) for name in tested]
    hidden = set(tested) - {column.select.get("subset") for column in columns}
    heading = f"Mean over all {len(tested)} tested subsets, of which {len(tested) - len(hidden)} are shown below"
    whole = Entry("mean", "", {"subset": "mean"}, {})
    means = make.compare([(whole, metric) for metric in spec.metrics], heading if hidden else "Mean over subsets")
    return [means, *make.by_subset([*columns, whole])]


def _runs(select: Mapping[str, Any]) -> list[str]:
    return list(select.get("runs") or ([select["run"]] if select.get("run") else []))


def _explained(make: Builder) -> list[str]:
    """How to read the numbers: deviation, interval, checkpoint, threshold, images."""
    numbers = make.numbers.values()
    ours = [number for number in numbers if number.source == "ours"]
    over = "seeds" if make.spec.spread == "seeds" else "the kept epochs"
    lone = " One seed has no deviation (–)." if make.spec.spread == "seeds" else ""
    notes = [
        f"Percent. Ours: mean over seeds {TIMES} standard deviation over {over}.{lone} Interval: 95 %, "
        "bootstrap over the test images, ends averaged over seeds."
    ]
    averaged = [number.epochs for number in ours if number.checkpoint == "mean"]
    kinds = {number.checkpoint for number in ours}
    rules = ["last epoch"] if kinds - {"mean", "best"} else []
    rules += ["best of the kept epochs on the validation images"] if "best" in kinds else []
    rules += [f"mean of the last {_range(averaged)} epochs"] if averaged else []
    notes.append(f"Checkpoint: {', '.join(rules)}.")
    rules = sorted({n.threshold_rule for n in ours} - {"none", "oracle"})
    if rules:
        notes.append(f"Accuracy: fake means a score above {' or '.join(rules)}.")
    told: dict[str, list[str]] = {}
    for number in ours:
        shown = number.row if make.spec.kind == "protocols" else f"{number.row}, {number.column}"
        if number.protocol and shown not in (rows := told.setdefault(number.protocol, [])):
            rows.append(shown)
    everywhere = len({number.protocol for number in ours}) == 1
    for name, rows in told.items():
        notes.append(f"Protocol{'' if everywhere else ' of ' + '; '.join(rows)}: {name}.")
    if any(number.source == "quoted" and number.metric.startswith("ap") for number in numbers):
        notes.append("The paper does not say which class its AP takes as positive.")
    if make.spec.kind in ("subsets", "pairs") and len(make.spec.metrics) > 1:
        notes.append("Cells of two numbers are without deviation and interval; table.csv holds them.")
    tested = sorted({(n.benchmark, n.n_real, n.n_fake) for n in ours if n.subset == "mean"})
    if tested:
        parts = [f"{benchmark}, {real} real and {fake} fake images" for benchmark, real, fake in tested]
        notes.append(f"Tested on {'; '.join(parts)}.")
    return notes


# ---------------------------------------------------------------------------------------------- formats


def as_csv(document: Document) -> str:
    """Every number in long form, with the digests of what made it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f.name for f in fields(Number)]
    writer.writerow(["paper", "table", *names, "banner"])
    for number in document.numbers:
        values = [_plain(getattr(number, name), number.source) for name in names]
        writer.writerow([document.paper, document.name, *values, document.banner])
    return out.getvalue()


def _plain(value: Any, source: str) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return "" if source == "quoted" and value == 0 else str(value)


def as_markdown(document: Document) -> str:
    """GitHub's Markdown."""

    def safe(text: str) -> str:
        return re.sub(r"([|\\`*_<>])", r"\\\1", text)

    parts = [f"## {safe(document.title)}"]
    if document.banner:
        parts.append(f"> **{safe(document.banner)}**")
    if document.caption:
        parts.append(safe(document.caption))
    for panel in document.panels:
        if panel.heading:
            parts.append(f"**{safe(panel.heading)}**")
        names = [f"{c.group}: {c.name}" if c.group else c.name for c in panel.columns]
        width = len(names)
        lines = ["| " + " | ".join(safe(name) for name in names) + " |"]
        lines.append("|:---|" + "---:|" * (width - 1))
        for line in panel.lines:
            cells = [safe(cell) for cell in line.cells]
            if len(cells) == 1:
                cells = [f"**{cells[0]}**"] + [""] * (width - 1)
            lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    if document.footnotes:
        parts.append("\n".join(f"- {safe(note)}" for note in document.footnotes))
    return "\n\n".join(parts) + "\n"


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "±": r"$\pm$", "−": "$-$", "–": "--", "×": r"$\times$", "†": r"$^\dagger$",
    "‡": r"$^\ddagger$", "§": r"$^\S$", "¶": r"$^\P$", "‖": r"$^\|$", "σ": r"$\sigma$", "≤": r"$\leq$",
    "≥": r"$\geq$",
}  # fmt: skip
"""Characters that LaTeX must be told about."""

LATEX_COLUMNS = 7
"""A wider panel is scaled down to the width of the text."""


def escape_latex(text: str) -> str:
    """Text that LaTeX sets as it reads."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def as_latex(document: Document) -> str:
    """A ``table`` environment; needs the packages booktabs and graphicx."""
    parts = ["% \\usepackage{booktabs, graphicx}", "\\begin{table}[tbp]", "\\centering", "\\small"]
    text = f"{document.title}. {document.caption}".strip()
    parts.append(f"\\caption{{{escape_latex(text)}}}")
    parts.append(f"\\label{{tab:{re.sub('[^a-z0-9]+', '-', f'{document.paper}-{document.name}'.lower())}}}")
    if document.banner:
        banner = f"\\textbf{{{escape_latex(document.banner)}}}"
        parts.append(f"\\fbox{{\\parbox{{0.95\\linewidth}}{{{banner}}}}}\\\\[4pt]")
    for panel in document.panels:
        if panel.heading:
            parts.append(f"\\textit{{{escape_latex(panel.heading)}}}\\\\[2pt]")
        width = len(panel.columns)
        wide = width > LATEX_COLUMNS
        parts += ["\\resizebox{\\linewidth}{!}{%"] if wide else []
        parts += [f"\\begin{{tabular}}{{l{'r' * (width - 1)}}}", "\\toprule"]
        groups = _spans(panel)
        if any(name for name, _, _ in groups):
            heads = [f"\\multicolumn{{{n}}}{{c}}{{{escape_latex(name)}}}" if name else "" for name, _, n in groups]
            parts.append(" & ".join(heads) + r" \\")
            parts.append("".join(f"\\cmidrule(lr){{{at}-{at + n - 1}}}" for name, at, n in groups if name))
        parts.append(" & ".join(escape_latex(column.name) for column in panel.columns) + r" \\")
        parts.append("\\midrule")
        for line in panel.lines:
            if len(line.cells) == 1:
                parts.append(f"\\multicolumn{{{width}}}{{l}}{{\\textit{{{escape_latex(line.cells[0])}}}}} \\\\")
            else:
                parts.append(" & ".join(escape_latex(cell) for cell in line.cells) + r" \\")
        parts += ["\\bottomrule", f"\\end{{tabular}}{'}' if wide else ''}\\\\[6pt]"]
    if document.footnotes:
        notes = r" \\ ".join(escape_latex(note) for note in document.footnotes)
        parts.append(f"\\parbox{{0.95\\linewidth}}{{\\footnotesize {notes}}}")
    return "\n".join([*parts, "\\end{table}"]) + "\n"


def _spans(panel: Panel) -> list[tuple[str, int, int]]:
    """Neighbouring columns of one group: (group, first column from 1, how many)."""
    spans: list[tuple[str, int, int]] = []
    for at, column in enumerate(panel.columns, 1):
        if spans and column.group and spans[-1][0] == column.group:
            name, first, n = spans[-1]
            spans[-1] = (name, first, n + 1)
        else:
            spans.append((column.group, at, 1))
    return spans


STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#1c1c1c;background:#fff}
body{max-width:76rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.25rem}h2{font-size:1rem;margin:1.6rem 0 .4rem}
.banner{border:2px solid #b45309;background:#fff7ed;padding:.6rem .8rem;font-weight:600}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;border-top:2px solid;border-bottom:2px solid}
th,td{padding:.22rem .7rem;text-align:right;white-space:nowrap;font-weight:400}
th:first-child,td:first-child{text-align:left}
thead tr:last-child th{border-bottom:1px solid}
thead th[colspan]{text-align:center;border-bottom:1px solid #999}
tr.group th{font-style:italic;text-align:left;padding-top:.6rem}
tbody tr:hover{background:#f4f4f5}
.quoted{color:#57534e;font-style:italic}
ol,ul{font-size:.85rem;color:#444;padding-left:1.2rem}
"""


def as_html(document: Document) -> str:
    """A page of its own: no script, no font or style from elsewhere."""
    esc = html.escape
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f"<title>{esc(document.title)}</title>",
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n</head>\n<body>',
        f"<h1>{esc(document.title)}</h1>",
    ]
    if document.banner:
        parts.append(f'<p class="banner">{esc(document.banner)}</p>')
    if document.caption:
        parts.append(f"<p>{esc(document.caption)}</p>")
    for panel in document.panels:
        if panel.heading:
            parts.append(f"<h2>{esc(panel.heading)}</h2>")
        parts.append('<div class="scroll"><table>\n<thead>')
        groups = _spans(panel)
        if any(name for name, _, _ in groups):
            cells = [f'<th colspan="{n}">{esc(name)}</th>' if name else "<th></th>" for name, _, n in groups]
            parts.append(f"<tr>{''.join(cells)}</tr>")
        quoted = [c.name == "quoted" or panel.heading.startswith("Quoted") for c in panel.columns]
        heads = "".join(f"<th>{esc(column.name)}</th>" for column in panel.columns)
        parts.append(f"<tr>{heads}</tr>\n</thead>\n<tbody>")
        for line in panel.lines:
            if len(line.cells) == 1:
                parts.append(f'<tr class="group"><th colspan="{len(panel.columns)}">{esc(line.cells[0])}</th></tr>')
                continue
            cells = [
                f'<td class="quoted">{esc(cell)}</td>' if mark and at else f"<td>{esc(cell)}</td>"
                for at, (cell, mark) in enumerate(zip(line.cells, quoted, strict=True))
            ]
            parts.append(f"<tr>{''.join(cells)}</tr>")
        parts.append("</tbody>\n</table></div>")
    if document.footnotes:
        notes = "\n".join(f"<li>{esc(note)}</li>" for note in document.footnotes)
        parts.append(f"<ul>\n{notes}\n</ul>")
    return "\n".join(parts) + "\n</body>\n</html>\n"


FORMATS: dict[str, Callable[[Document], str]] = {
    "csv": as_csv,
    "md": as_markdown,
    "tex": as_latex,
    "html": as_html,
}
"""File ending to writer."""
