"""Tables with columns of their own, each of one metric."""

from __future__ import annotations

from tellsign.results.tables.document import Section
from tellsign.results.tables.layout import Draft, metric_labels, side_by_side


def metrics_side_by_side(draft: Draft) -> list[Section]:
    """One section with the specification's own columns, each of one metric."""
    columns = []
    for column in draft.spec.columns:
        group = f"{column.group}: {column.label}" if column.group else column.label
        columns.append((column, column.select.get("metric", draft.spec.metrics[0]), group))
    across = draft.spec.across
    return [side_by_side(draft, columns, f"{metric_labels(draft)}; columns: {across}" if across else "")]


def a_section_a_column(draft: Draft) -> list[Section]:
    """A section for each value on the columns' axis where it has several metrics, which would be too wide together."""
    groups = list(dict.fromkeys(column.group for column in draft.spec.columns))
    if groups == [""]:
        return metrics_side_by_side(draft)
    sections = []
    for group in groups:
        columns = [
            (column, column.select["metric"], column.label) for column in draft.spec.columns if column.group == group
        ]
        sections.append(side_by_side(draft, columns, f"{draft.spec.across}: {group}"))
    return sections
