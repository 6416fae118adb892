"""Tables: a specification, metrics and printed numbers in; a document out, as CSV, Markdown, LaTeX or HTML.

A printed (quoted) number and one of ours never share a column. A difference between them is shown only where
both were measured on the same benchmark. Equal inputs give equal text.

``specification``  what a table asks for, checked
``numbers``        the numbers of each cell: ours, the printed one, their difference
``layout``         texts of cells and sections of columns; ``kinds`` has a module for each kind with a layout of its own
``footnotes``      how to read the numbers
``document``       what comes out
``writers``        its files, by the templates in ``templates``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tellsign.errors import UserError
from tellsign.results.published import Quoted
from tellsign.results.tables.document import Document
from tellsign.results.tables.footnotes import explanations
from tellsign.results.tables.kinds import LAYOUTS
from tellsign.results.tables.layout import Draft
from tellsign.results.tables.numbers import Cells, Measured
from tellsign.results.tables.specification import read_spec
from tellsign.results.tables.writers import FORMATS

__all__ = ["FORMATS", "Document", "make_document", "read_spec"]


def make_document(
    settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], published: Sequence[Quoted]
) -> Document:
    """Make a table.

    Args:
        settings: the specification.
        rows: rows of the metrics files of the runs it names.
        published: the paper's printed numbers.

    Raises:
        UserError: the specification names a run, subset, metric or printed number that is not there.
    """
    spec = read_spec(settings)
    draft = Draft(spec, Cells(spec, Measured(rows, spec.paper), published))
    sections = LAYOUTS[spec.kind](draft)
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
        footnotes=(*draft.marks.footnotes(), *explanations(spec, numbers), *spec.footnotes),
        numbers=numbers,
    )
