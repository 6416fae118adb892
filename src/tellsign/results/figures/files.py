"""The bytes of a figure: PNG, SVG and the data behind it as CSV.

Equal inputs give equal bytes: no dates, and a fixed salt for the identifiers inside SVG.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tellsign.results.figures.page import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png_bytes(figure: Figure, dpi: int = 200) -> bytes:
    """The figure as PNG, without a date."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Title": figure.get_label()})
    return buffer.getvalue()


def svg_bytes(figure: Figure) -> bytes:
    """The figure as SVG, without a date; letters are outlines, so that it looks the same everywhere."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Title": figure.get_label()})
    return buffer.getvalue()


def csv_text(columns: Mapping[str, Sequence[Any]]) -> str:
    """The data behind a figure as CSV: a header, then one line a row; numbers to ten digits, nan as nothing.

    Raises:
        ValueError: the columns differ in length.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return buffer.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else f"{float(value):.10g}"
    return str(value)
