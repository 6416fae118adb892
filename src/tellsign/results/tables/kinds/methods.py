"""Tables that compare methods side by side: every subset with its images and its interval, and their mean."""

from __future__ import annotations

from collections.abc import Sequence

from tellsign.errors import UserError
from tellsign.results.tables.document import DASH, Column, Number, Section
from tellsign.results.tables.layout import Draft, digits, range_text, section
from tellsign.results.tables.specification import Slice, runs_of

SAME_VERDICT = (
    "A run that gives all images of a subset the same verdict is right on half of them, or on as many as it happens to "
    "hold; other images would change nothing, so no interval is given."
)

HOW_TO_COMPARE = (
    "Intervals of two methods that overlap do not say that the methods are equally good, because both were tested on "
    "the same images: `tellsign compare` takes the difference image by image."
)


def side_by_side(draft: Draft) -> list[Section]:
    """One section: a row a method, a column a subset, ``81.3 (75.0–86.1)`` in a cell.

    Raises:
        UserError: no row names a run.
    """
    spec, metric = draft.spec, draft.spec.metrics[0]
    first = next((row for row in spec.rows if runs_of(row.select)), None)
    if first is None:
        raise UserError(f"table {spec.name}: no row names a run.")
    select = {**spec.select, **first.select}
    tested = draft.cells.measured.subsets(runs_of(first.select)[0], select, metric)
    columns = list(spec.columns) or [Slice(name, "", {"subset": name}, None) for name in tested]
    columns.append(Slice("mean", "", {"subset": "mean"}, None))
    constant: list[str] = []

    def cells_of(row: Slice) -> list[str]:
        texts, seeds = [row.label], []
        for column in columns:
            ours = draft.cells.at(row, column, metric).ours
            if ours is None:
                texts.append(DASH)
                continue
            seeds.append(ours.seeds)
            verdicts = _same_verdicts(draft, row, column, metric)
            if verdicts:
                constant.append(_constant_text(row, column, verdicts, ours.seeds))
            texts.append(cell_text(ours, len(verdicts) == ours.seeds))
        return [*texts, range_text(seeds)]

    named = [_head(column.label, draft.cells.at(first, column, metric).ours) for column in columns]
    heads = [Column("", name) for name in ("", *named, "seeds")]
    heading = f"{spec.labels[metric]} (%), 95 % interval in brackets"
    whole = section(heading, heads, spec.rows, cells_of)
    draft.notes += [*constant, *([SAME_VERDICT] if constant else []), HOW_TO_COMPARE]
    return [whole]


def cell_text(ours: Number, constant: bool) -> str:
    """A number with its interval; without one where all images get the same verdict."""
    if constant or ours.low == ours.high:
        return digits(ours.value)
    return f"{digits(ours.value)} ({digits(ours.low)}{DASH}{digits(ours.high)})"


def _head(label: str, ours: Number | None) -> str:
    """A subset with the numbers of its images, where they are known."""
    if ours is None or not (ours.n_real or ours.n_fake):
        return label
    return f"{label}: {ours.n_real} real, {ours.n_fake} fake"


def _same_verdicts(draft: Draft, row: Slice, column: Slice, metric: str) -> list[str]:
    """``real`` or ``fake`` for each seed at which a run calls all images of a subset so.

    Nothing is said of several runs together, of the mean over subsets, or of a metric that depends on no verdict.
    """
    select = {**draft.spec.select, **column.select, **row.select}
    runs, measured = runs_of(select), draft.cells.measured
    if len(runs) != 1 or metric != "accuracy" or select["subset"] == "mean" or select.get("less"):
        return []
    rows = measured.runs[measured.full_name(runs[0])]
    if not {"accuracy_real", "accuracy_fake"} <= {number["metric"] for number in rows}:
        return []
    reals, fakes = (measured.find(runs[0], select, name) for name in ("accuracy_real", "accuracy_fake"))
    pairs = [(real["value"], fake["value"]) for real, fake in zip(reals, fakes, strict=True)]
    named = {(1.0, 0.0): "real", (0.0, 1.0): "fake"}
    return [named[pair] for pair in pairs if pair in named]


def _constant_text(row: Slice, column: Slice, verdicts: Sequence[str], seeds: int) -> str:
    what = " or ".join(f"everything {name}" for name in dict.fromkeys(verdicts))
    where = "" if len(verdicts) == seeds else f" at {len(verdicts)} of {seeds} seeds"
    return f"{row.full_name}, {column.label}: calls {what}{where}."
