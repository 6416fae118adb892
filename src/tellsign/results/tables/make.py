"""One table from its settings, metrics and printed numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tellsign.errors import UserError
from tellsign.results.published import Quoted
from tellsign.results.tables.document import Document
from tellsign.results.tables.footnotes import explanations
from tellsign.results.tables.kinds import TABLE_KINDS
from tellsign.results.tables.layout import Draft
from tellsign.results.tables.measured import Measured
from tellsign.results.tables.numbers import Cells
from tellsign.results.tables.specification import read_spec


def make_document(
    settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], published: Sequence[Quoted]
) -> Document:
    """Make a table.

    Args:
        settings: as `tellsign.schema.tables.table_settings` completes them.
        rows: rows of the metrics files of the runs it names.
        published: the paper's printed numbers.

    Raises:
        UserError: the specification names a run, subset, metric or printed number that is not there.
    """
    spec = read_spec(settings)
    draft = Draft(spec, Cells(spec, Measured(rows, spec.paper), published))
    sections = TABLE_KINDS.load(spec.kind)(draft)
    numbers = tuple(draft.cells.numbers.values())
    if not any(number.source == "ours" for number in numbers):
        raise UserError(f"table {spec.name}: no row names a run.")
    return Document(
        paper=spec.paper,
        name=spec.name,
        title=spec.title,
        caption=spec.caption,
        banner=spec.banner,
        sections=tuple(sections),
        footnotes=(*draft.notes, *draft.marks.footnotes(), *explanations(spec, numbers), *spec.footnotes),
        numbers=numbers,
    )
