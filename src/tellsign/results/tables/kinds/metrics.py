"""Tables of one section with columns of their own, each of one metric."""

from __future__ import annotations

from tellsign.results.tables.document import Section
from tellsign.results.tables.layout import Draft, side_by_side


def metrics_side_by_side(draft: Draft) -> list[Section]:
    """One section with the specification's own columns, each of one metric."""
    columns = []
    for column in draft.spec.columns:
        group = f"{column.group}: {column.label}" if column.group else column.label
        columns.append((column, column.select.get("metric", draft.spec.metrics[0]), group))
    return [side_by_side(draft, columns, draft.spec.heading)]
