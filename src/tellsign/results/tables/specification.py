"""The specification of a table: what its rows and columns select, and where its printed numbers stand.

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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tellsign.errors import UserError, choose, near_miss
from tellsign.results.published import KEYS
from tellsign.schema.paper_files import runs_of_grids

METRIC_LABELS: dict[str, str] = {
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

SELECTION = ("run", "runs", "benchmark", "subset", "perturbation", "checkpoint", "protocol", "metric")
SPECIFICATION = (
    "paper", "name", "title", "caption", "kind", "metric", "rows", "columns", "quoted", "grid", "run", "runs",
    "benchmark", "subset", "perturbation", "checkpoint", "protocol", "spread", "comparable", "why", "cost", "banner",
    "footnotes", "recipes",
)  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """A row or column: its label, what it selects, and where its printed numbers stand."""

    label: str
    group: str
    select: Mapping[str, Any]
    quoted: Mapping[str, str] | None

    @property
    def full_name(self) -> str:
        """Its label after its group's."""
        return f"{self.group}: {self.label}" if self.group else self.label


@dataclass(frozen=True)
class Spec:
    """A checked specification; see the module's text."""

    paper: str
    name: str
    title: str
    kind: str
    rows: tuple[Slice, ...]
    columns: tuple[Slice, ...]
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
    run_at: Mapping[tuple[str, str], str] = field(default_factory=dict)


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


def _row(value: Any, plain: str, where: str) -> Slice:
    return _entry(value, plain, "method", None, where)


def _of_grid(row: Any, known: Sequence[str]) -> Any:
    """A row with the runs of the grid that it names, besides those that it names itself."""
    if not isinstance(row, Mapping) or "grid" not in row:
        return row
    rest = {key: value for key, value in row.items() if key != "grid"}
    return rest | {"runs": [*runs_of_grids(known, row["grid"]), *row.get("runs", ())]}


def _column(value: Any, plain: str, where: str) -> Slice:
    # a column of metrics needs no name of its own among the printed numbers, a subset does
    short, default = ("subset", None) if plain == "subset" else ("setting", {})
    return _entry(value, plain, short, default, where)


def _entry(value: Any, plain: str, short: str, quoted: dict[str, str] | None, where: str) -> Slice:
    """Read a row or column; a plain name stands for ``{plain: name}``, ``quoted`` holds by default."""
    held = {plain: value} if isinstance(value, str) else dict(value)
    _strict(held, ("label", "group", "quoted", *SELECTION), where)
    select = {key: held[key] for key in SELECTION if key in held}
    if "quoted" in held:
        quoted = _quoted(held["quoted"], short, where)
    named = held.get("label") or select.get(plain) or next(iter((quoted or {}).values()), None)
    if named is None:
        raise UserError(f"{where}: needs a label, a {plain} or a quoted name.")
    label = METRIC_LABELS.get(str(named), str(named)) if plain == "metric" else str(named)
    return Slice(label, str(held.get("group", "")), select, quoted)


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
) -> tuple[list[Slice], dict[str, str]]:
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
        entries.append(Slice(names.get(value, value), "", {}, {short: found} if found else None))
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


def read_spec(settings: Mapping[str, Any]) -> Spec:
    """Check a specification.

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
        choose(METRIC_LABELS, metric, f"metric of {where}")
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
        run_at=cells,
        **{key: settings[key] for key in rest if key in settings},
    )


def _axis_label(axis: Any) -> str:
    return str(axis.get("label", axis.get("field", ""))) if isinstance(axis, Mapping) else ""


def _heading(settings: Mapping[str, Any], metrics: Sequence[str]) -> str:
    """What the columns of a two-way grid show."""
    columns = settings.get("columns")
    if not isinstance(columns, Mapping):
        return ""
    return f"{' / '.join(METRIC_LABELS[metric] for metric in metrics)}; columns: {_axis_label(columns)}"


def _grid(
    settings: Mapping[str, Any], metrics: Sequence[str], where: str
) -> tuple[list[Slice], list[Slice], dict[tuple[str, str], str]]:
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
            replace(entry, group=entry.label, label=METRIC_LABELS[metric], select={"metric": metric})
            for entry in entries
            for metric in metrics
        ]
    return rows, entries, cells


def _one_each(rows: Sequence[Slice], row_of: Mapping[str, str], where: str) -> list[tuple[Slice, str]]:
    by_label: dict[str, str] = {}
    for run, label in row_of.items():
        if label in by_label:
            raise UserError(f"{where}: runs {by_label[label]} and {run} both stand at {label}.")
        by_label[label] = run
    return [(row, by_label[row.label]) for row in rows]


def runs_of(select: Mapping[str, Any]) -> list[str]:
    """The runs that a selection names."""
    return list(select.get("runs") or ([select["run"]] if select.get("run") else []))
