"""Bar charts: groups of bars with whiskers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tellsign.results.figures.page import LINES, SMALL, WIDTH, drawing, legend_below, legend_height, metric_label, page

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from matplotlib.figure import Figure


@drawing
def draw(
    values: Float[np.ndarray, "series group"],
    errors: Float[np.ndarray, "series group"],
    *,
    series: Sequence[str],
    groups: Sequence[str],
    metric: str,
    title: str = "",
    note: str = "",
    banner: str = "",
) -> Figure:
    """Bars: one group a test set, one bar a variant, whiskers ± one sd over seeds (TIDY Fig. 4 to 8).

    Args:
        values: In the metric's drawn unit (percent); nan draws no bar.
        errors: Standard deviation over seeds, in the same unit; nan draws no whisker.
        series: Names of the variants.
        groups: Names of the test sets.
        metric: Name in `METRICS`.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """

    import numpy as np

    per_row = len(groups) if len(groups) * len(series) <= 45 else math.ceil(len(groups) / 2)
    down = math.ceil(len(groups) / per_row)
    slant = max(map(len, groups)) * SMALL * 0.6 / 72 > WIDTH / per_row - 0.25
    height = 2.5 + (0.55 if slant else 0.0)
    legend = legend_height(series)
    figure = page(down * height + legend, title, note, banner)
    grid = figure.add_gridspec(down + 1, 1, height_ratios=[height] * down + [legend])
    width = 0.84 / len(series)
    top = float(np.nanmax(values + np.nan_to_num(errors), initial=0.0))
    handles: list[Any] = []
    for part in range(down):
        axes = figure.add_subplot(grid[part, 0])
        here = slice(part * per_row, (part + 1) * per_row)
        x = np.arange(len(groups[here]), dtype=float)
        handles = []
        for n in range(len(series)):
            at = x + (n - (len(series) - 1) / 2) * width
            heights, spread = values[n, here], np.nan_to_num(errors[n, here])
            handles.append(axes.bar(at, heights, width * 0.92, color=LINES[n % len(LINES)], linewidth=0))
            seen = np.isfinite(errors[n, here]) & np.isfinite(heights)
            axes.errorbar(
                at[seen],
                heights[seen],
                spread[seen],
                fmt="none",
                ecolor="#222222",
                elinewidth=0.9,
                capsize=1.5,
            )
            for place, value, whisker in zip(at, heights, spread, strict=True):
                if np.isfinite(value):
                    axes.text(
                        place,
                        value + whisker + top * 0.015,
                        f"{value:.1f}",
                        rotation=90,
                        ha="center",
                        va="bottom",
                        size=SMALL,
                    )
        axes.set_ylim(0, top * 1.2 or 1.0)
        axes.set_xlim(-0.55, per_row - 0.45)
        axes.set_ylabel(metric_label(metric))
        axes.grid(axis="y")
        axes.tick_params(axis="x", length=0)
        if slant:
            axes.set_xticks(x, groups[here], rotation=30, ha="right", rotation_mode="anchor")
        else:
            axes.set_xticks(x, groups[here])
    legend_below(figure, grid, handles, series)
    return figure
