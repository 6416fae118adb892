"""A table's completed settings as its layout reads them; `tellsign.schema.tables` says what they may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Slice:
    """A row or column of a table.

    Attributes:
        label: what it is called.
        group: neighbours of the same group stand under one heading; may be empty.
        select: what its cells show, as far as it says so itself.
        quoted: where its printed numbers stand; None where none are printed.
    """

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
    heading: str


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
