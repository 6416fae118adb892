"""Tables by subset: the mean with its printed number, then ours, the printed numbers and differences by subset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tellsign.errors import UserError
from tellsign.results.tables.document import Column, Section
from tellsign.results.tables.layout import (
    Draft,
    delta_text,
    metric_labels,
    ours_text,
    quoted_text,
    released_text,
    section,
    side_by_side,
)
from tellsign.results.tables.numbers import PRINTED, Cell
from tellsign.results.tables.specification import Slice, runs_of


def by_subset(draft: Draft) -> list[Section]:
    """All sections of a table by subset.

    Raises:
        UserError: no row names a run.
    """
    spec = draft.spec
    first = next((row for row in spec.rows if runs_of(row.select)), None)
    if first is None:
        raise UserError(f"table {spec.name}: no row names a run.")
    select = {**spec.select, **first.select}
    tested = draft.cells.measured.subsets(runs_of(first.select)[0], select, spec.metrics[0])
    columns = list(spec.columns) or [Slice(name, "", {"subset": name}, None) for name in tested]
    hidden = set(tested) - {column.select.get("subset") for column in columns}
    heading = f"Mean over all {len(tested)} tested subsets, of which {len(tested) - len(hidden)} are shown below"
    mean = Slice("mean", "", {"subset": "mean"}, {})
    means = [(mean, metric, spec.labels[metric]) for metric in spec.metrics]
    return [
        side_by_side(draft, means, heading if hidden else "Mean over subsets"),
        *_ours_and_delta(draft, [*columns, mean]),
    ]


def _heads(columns: Sequence[Slice], quoted: bool = False) -> list[Column]:
    return [Column("", ""), *(Column("", column.label, quoted) for column in columns)]


def _ours_and_delta(draft: Draft, columns: Sequence[Slice]) -> list[Section]:
    """Ours by subset, the printed table by its own subsets, and differences where they mean something."""
    spec = draft.spec
    several = len(spec.metrics) > 1
    cells: dict[tuple[int, int], list[Cell]] = {}

    def ours_of(row: Slice) -> list[str]:
        texts = [row.label]
        for column in columns:
            pair = [draft.cells.at(row, column, metric) for metric in spec.metrics]
            cells[id(row), id(column)] = pair
            texts.append(" / ".join(ours_text(draft, cell, short=several) for cell in pair))
        return texts

    ran = [row for row in spec.rows if runs_of(row.select)]
    sections = [section(f"Ours, by subset: {metric_labels(draft)}", _heads(columns), ran, ours_of)]
    sections += _released(draft, columns)
    sections += _quoted(draft)
    matched = [column for column in columns if column.quoted]
    both = [row for row in ran if row.quoted]
    if not (spec.comparable and spec.quoted and matched and both):
        return sections

    def delta_of(row: Slice) -> list[str]:
        pairs = [cells[id(row), id(column)] for column in matched]
        return [row.label, *(" / ".join(delta_text(draft, cell) for cell in pair) for pair in pairs)]

    return [*sections, section(f"Delta, by subset: {metric_labels(draft)}", _heads(matched), both, delta_of)]


def _released(draft: Draft, columns: Sequence[Slice]) -> list[Section]:
    """The released checkpoints by subset, where rows name any."""
    spec = draft.spec
    rows = [row for row in spec.rows if row.select.get("released")]

    def released_of(row: Slice) -> list[str]:
        pairs = ([draft.cells.at(row, column, metric) for metric in spec.metrics] for column in columns)
        return [row.label, *(" / ".join(map(released_text, pair)) for pair in pairs)]

    heading = f"Released checkpoints, by subset: {metric_labels(draft)} (95 % interval)"
    return [section(heading, _heads(columns), rows, released_of)] if rows else []


def _quoted(draft: Draft) -> list[Section]:
    """The printed rows with the printed columns, where there are several."""
    spec = draft.spec
    rows = [row for row in spec.rows if row.quoted]
    if spec.quoted is None or not rows:
        return []
    artifact = {**spec.quoted, **(rows[0].quoted or {})}.get("artifact")
    subsets = list(dict.fromkeys(q.subset for q in draft.cells.published if q.artifact == artifact))
    if len(subsets) < 2:
        return []
    columns = [Slice(subset, "", {}, {"subset": subset}) for subset in subsets]
    # both of our APs stand beside the one that is printed
    metric_of = {PRINTED[metric]: metric for metric in spec.metrics if metric in PRINTED}

    def quoted_of(row: Slice) -> list[str]:
        place = {key: name for key, name in (row.quoted or {}).items() if key != "subset"}
        printed_row = replace(row, select={}, quoted=place)
        texts = [row.label]
        for column in columns:
            pair = []
            for metric in metric_of.values():
                quoted = draft.cells.printed(printed_row, column, metric)
                pair.append(Cell(None, quoted))
                if quoted and column.label != "Avg":  # kept already, beside our mean
                    draft.cells.keep_printed(row, column, quoted, metric)
            texts.append(" / ".join(quoted_text(draft, cell) for cell in pair))
        return texts

    names = " / ".join("AP" if name == "ap" else name for name in metric_of)
    heading = f"Quoted from the paper, by its test sets: {names}"
    return [section(heading, _heads(columns, quoted=True), rows, quoted_of)]
