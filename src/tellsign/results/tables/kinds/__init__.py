"""Kinds of tables: how the sections of each are laid out."""

from __future__ import annotations

from collections.abc import Callable

from tellsign.results.tables.document import Section
from tellsign.results.tables.kinds.subsets import by_subset
from tellsign.results.tables.layout import Draft, metrics_side_by_side

LAYOUTS: dict[str, Callable[[Draft], list[Section]]] = {
    "subsets": by_subset,
    "pairs": by_subset,
    "runs": metrics_side_by_side,
    "grid": metrics_side_by_side,
    "robustness": metrics_side_by_side,
    "protocols": metrics_side_by_side,
}
"""Kind to what makes its sections."""
