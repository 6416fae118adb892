"""A table's completed settings as its layout reads them; `tellsign.schema.tables` says what they may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from tellsign.errors import UserError, near_miss


@dataclass(frozen=True)
class Slice:
    """A row or column of a table.

    Attributes:
        label: what it is called.
        group: neighbours of the same group stand under one heading; may be empty.
        select: what its cells show, as far as it says so itself.
        quoted: where its printed numbers stand; None where none are printed.
        why: why nothing is run for it; empty where it says nothing.
    """

    label: str
    group: str
    select: Mapping[str, Any]
    quoted: Mapping[str, str] | None
    why: str = ""

    @property
    def full_name(self) -> str:
        """Its label after its group's."""
        return f"{self.group}: {self.label}" if self.group else self.label


@dataclass(frozen=True)
class Spec:
    """A table's completed settings; see :func:`tellsign.schema.tables.table_settings`.

    Attributes:
        labels: heading of each metric.
        run_at: (row, column) of a grid of two axes → its run; empty for other tables.
    """

    paper: str
    name: str
    title: str
    kind: str
    caption: str
    banner: str
    spread: str
    comparable: bool
    why: str
    cost: bool
    footnotes: tuple[str, ...]
    metrics: tuple[str, ...]
    labels: Mapping[str, str]
    select: Mapping[str, Any]
    quoted: Mapping[str, str] | None
    rows: tuple[Slice, ...]
    columns: tuple[Slice, ...]
    run_at: Mapping[tuple[str, str], str]
    corner: str
    across: str


def read_spec(settings: Mapping[str, Any]) -> Spec:
    """A table's settings from plain data."""
    metrics = settings["metrics"]
    read: dict[str, Any] = {
        "footnotes": tuple(settings["footnotes"]),
        "metrics": tuple(metrics),
        "labels": dict(zip(metrics, settings["metric_labels"], strict=True)),
        "rows": tuple(Slice(**row) for row in settings["rows"]),
        "columns": tuple(Slice(**column) for column in settings["columns"]),
        "run_at": {(row, column): run for row, column, run in settings["run_at"]},
    }
    plain = {field.name: settings[field.name] for field in fields(Spec) if field.name not in read}
    return Spec(**plain, **read)


def runs_of(select: Mapping[str, Any]) -> list[str]:
    """The runs that a selection names."""
    return list(select.get("runs") or ([select["run"]] if select.get("run") else []))


def left_out(select: Mapping[str, Any]) -> list[str]:
    """The subsets that a selection leaves out; none where it is of one subset."""
    return list(select["without"]) if select["subset"] == "mean" else []


RUNS = ("run", "runs", "grid")
"""What names the runs of a selection; a grid is none any more in completed settings."""


def subtracted(select: Mapping[str, Any]) -> dict[str, Any] | None:
    """The selection that is subtracted from another: what ``less`` says, and what else holds for both; None without."""
    less = select.get("less")
    if less is None:
        return None
    replaced = {"less", *(RUNS if any(less.get(name) for name in RUNS) else ())}
    return {**{key: value for key, value in select.items() if key not in replaced}, **less}


def released(select: Mapping[str, Any]) -> dict[str, Any] | None:
    """The selection of the released checkpoint beside a cell, which has one epoch; None where none is named."""
    if not select.get("released"):
        return None
    replaced = {"released", "less", *RUNS}
    kept = {key: value for key, value in select.items() if key not in replaced}
    return {**kept, "run": select["released"], "checkpoint": "last"}


NUMBER_KEYS = ("protocol", "perturbation", "benchmark", "checkpoint", "subset")
"""What a cell says of its numbers, in the order in which they are looked up."""

MADE_OF = {"worst": "epoch"}
"""Checkpoint rule of a cell → the rule of the numbers that it is made of."""

HINTS = {
    "mean": " Keep more than one epoch in its recipe (keep).",
    "worst": " Keep more than one epoch in its recipe (keep).",
    "best": " Name a test set that chooses (protocol: {validation: NAME}).",
}
"""What gives a run the numbers of a checkpoint rule."""

Facts = TypeVar("Facts", bound=Mapping[str, Any])


def numbers_of_cell(numbers: Sequence[Facts], wanted: Mapping[str, Any], run: str) -> list[Facts]:
    """The numbers of a run that a cell shows.

    Args:
        numbers: What is known of each number; a value that is None may turn out to be any.
        wanted: The value of each key; None takes the only one that there is.
        run: The run, for messages.

    Raises:
        UserError: nothing fits, or numbers of two test sets do; the message names the first key that fails, its near
            miss and what is known.
    """
    left = list(numbers)
    for key, value in wanted.items():
        known = {number[key] for number in left}
        if None in known:
            continue
        names = sorted(map(str, known))
        listed = ", ".join(names)
        if value is None and len(names) > 1:
            raise UserError(f"{run} was tested on {listed}: the table must say which {key}.")
        fitting = MADE_OF.get(str(value), value) if key == "checkpoint" else value
        left = [number for number in left if fitting in (None, number[key])]
        if not left:
            hint = HINTS.get(str(value), "") if key == "checkpoint" else ""
            problem = f"{run} has no metrics of {key} {value!r}.{near_miss(str(value), names)}"
            raise UserError(f"{problem}{hint} Known: {listed}.")
    return left
