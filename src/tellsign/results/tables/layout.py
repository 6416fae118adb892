"""Sections of a table: which cells stand side by side, and the text of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tellsign.results.published import Quoted
from tellsign.results.tables.document import DASH, TIMES, Column, Marks, Number, Section, TextRow, distinct
from tellsign.results.tables.numbers import Cell, Cells
from tellsign.results.tables.specification import Slice, Spec

EMPTY = f"{DASH}{TIMES} /"
"""What a cell without content is made of: a dash, or one for each of its metrics."""

RELEASED_DELTAS = ("released − quoted", "ours − released")
"""Headings of the columns that set a released checkpoint against the printed number, and ours against it."""


@dataclass
class Draft:
    """A table being laid out: its specification, its cells, the footnotes of its kind and the marks of the others."""

    spec: Spec
    cells: Cells
    notes: list[str] = field(default_factory=list)
    marks: Marks = field(default_factory=Marks)


# ---------------------------------------------------------------------------------------------- texts of cells


def digits(value: float) -> str:
    """One digit after the point; a dash for NaN."""
    return DASH if math.isnan(value) else f"{value:.1f}"


def ours_text(draft: Draft, cell: Cell, short: bool = False) -> str:
    """``94.5 ± 0.3``, or ``94.5`` where it must be short; a dash where there is nothing."""
    if cell.ours is None:
        return DASH
    spread = cell.ours.sd_epochs if draft.spec.spread == "epochs" else cell.ours.sd
    return digits(cell.ours.value) if short else f"{digits(cell.ours.value)} {TIMES} {digits(spread)}"


def interval_text(cell: Cell) -> str:
    """``91.0–95.0``; a dash where there is nothing."""
    return f"{cell.ours.low:.1f}{DASH}{cell.ours.high:.1f}" if cell.ours else DASH


def quoted_text(draft: Draft, cell: Cell) -> str:
    """The printed digits, marked where a note must be read with them."""
    if cell.quoted is None:
        return DASH
    text = cell.quoted.value + (f" {TIMES} {cell.quoted.std}" if cell.quoted.std else "")
    note = cell.quoted.note
    return text + (draft.marks.sign(f"Quoted: {note}.") if note.startswith(("as printed", "not printed")) else "")


def released_text(cell: Cell) -> str:
    """``94.5 (91.0–95.0)``: the released checkpoint's number with its interval; a dash where there is none."""
    if cell.released is None:
        return DASH
    return f"{digits(cell.released.value)} ({digits(cell.released.low)}{DASH}{digits(cell.released.high)})"


def delta_text(draft: Draft, cell: Cell) -> str:
    """Ours less quoted, where they may be compared; else the mark of the footnote that says why not."""
    return _less_quoted(draft, cell.ours, cell.quoted, cell.delta)


def released_delta_text(draft: Draft, cell: Cell) -> str:
    """The same of the released checkpoint."""
    return _less_quoted(draft, cell.released, cell.quoted, cell.released_delta)


def signed(value: float) -> str:
    """``+1.2`` or ``−1.2``; a dash for NaN."""
    return DASH if math.isnan(value) else f"{value:+.1f}".replace("-", "−")


def _less_quoted(draft: Draft, own: Number | None, quoted: Quoted | None, delta: float) -> str:
    if own is None or quoted is None:
        return DASH
    why = why_not_compared(draft, own, quoted)
    return f"n/a{draft.marks.sign(why)}" if why else signed(delta)


def why_not_compared(draft: Draft, own: Number, quoted: Quoted) -> str:
    """Why a number that was measured here is not set against the printed one; empty where it is."""
    if not draft.spec.comparable:
        return draft.spec.why or (
            f"Not compared: ours is measured on {own.benchmark}, the quoted number on the paper's benchmark."
        )
    return "Not compared: the paper itself contradicts the quoted number." if quoted.contradicted else ""


def label_text(draft: Draft, row: Slice, ran: bool) -> str:
    """A row's label; rows that were not run are marked."""
    if ran:
        return row.label
    scored = "Not trained here; the released checkpoint is scored." if row.select.get("released") else ""
    return row.label + draft.marks.sign(row.why or scored or "Quoted only; not run here.")


def range_text(counts: Sequence[int]) -> str:
    """``3``, or ``1–3`` where they differ; a dash where there are none."""
    return DASH.join(distinct([str(min(counts)), str(max(counts))])) if counts else DASH


def images_seen_text(numbers: Sequence[Number]) -> str:
    """Images seen in training, of the distinct runs of a row."""
    by_run = {number.run: number.images_seen for number in numbers}
    total = sum(by_run.values())
    return DASH if not by_run or math.isnan(total) else f"{total:.0f}"


# ---------------------------------------------------------------------------------------------- sections


def section(
    heading: str, columns: Sequence[Column], rows: Sequence[Slice], cells_of: Callable[[Slice], Sequence[str]]
) -> Section:
    """A section with the rows' groups as headings between them; columns without any content are left out.

    Args:
        heading: stands above it; may be empty.
        columns: the column of labels and those of the cells.
        rows: its rows, in order.
        cells_of: the texts of a row, its label first.
    """
    texts: list[TextRow] = []
    group = ""
    for row in rows:
        if row.group and row.group != group:
            texts.append(TextRow((row.group,)))
        group = row.group
        texts.append(TextRow(tuple(cells_of(row))))
    return without_empty_columns(Section(heading, tuple(columns), tuple(texts)))


def without_empty_columns(whole: Section) -> Section:
    """The section without the columns that hold nothing but dashes; the labels stay."""
    rows = [row for row in whole.rows if not row.is_heading]
    kept = [0, *(at for at in range(1, len(whole.columns)) if any(row.cells[at].strip(EMPTY) for row in rows))]
    texts = (row if row.is_heading else TextRow(tuple(row.cells[at] for at in kept)) for row in whole.rows)
    return Section(whole.heading, tuple(whole.columns[at] for at in kept), tuple(texts))


def side_by_side(draft: Draft, columns: Sequence[tuple[Slice, str, str]], heading: str) -> Section:
    """Quoted, released, ours, interval and deltas side by side for each column; cost and seeds at the end.

    Where ours stands with the deviation over epochs, that over seeds and the lowest epoch stand beside it.

    Args:
        draft: the table.
        columns: what each selects, the metric it shows, and the heading of its columns.
        heading: stands above the section.
    """
    spec = draft.spec
    heads = [Column("", spec.corner)]
    epochs = spec.spread == "epochs"
    ours_names = [f"ours {TIMES} sd of epochs", "sd of seeds", "worst epoch"] if epochs else [f"ours {TIMES} sd"]
    for _, _, group in columns:
        names = ["quoted", "released (95 % interval)", *ours_names, "95 % interval", "delta", *RELEASED_DELTAS]
        heads += [Column(group, name, quoted=name == "quoted") for name in names]
    heads += [Column("", "images seen")] if spec.cost else []
    heads += [Column("", "seeds")]

    def cells_of(row: Slice) -> list[str]:
        cells = [draft.cells.at(row, column, metric) for column, metric, _ in columns]
        ours = [cell.ours for cell in cells if cell.ours]
        texts = [label_text(draft, row, bool(ours))]
        for cell in cells:
            texts += [quoted_text(draft, cell), released_text(cell), ours_text(draft, cell)]
            texts += [digits(cell.ours.sd), digits(cell.ours.least_epoch)] if epochs and cell.ours else []
            texts += [DASH, DASH] if epochs and not cell.ours else []
            texts += [interval_text(cell), delta_text(draft, cell)]
            texts += [released_delta_text(draft, cell), signed(cell.retraining)]
        texts += [images_seen_text(ours)] if spec.cost else []
        return [*texts, range_text([number.seeds for number in ours])]

    return section(heading, heads, spec.rows, cells_of)


def metric_labels(draft: Draft) -> str:
    """The metrics of a table, as a heading."""
    return " / ".join(draft.spec.labels[metric] for metric in draft.spec.metrics)
