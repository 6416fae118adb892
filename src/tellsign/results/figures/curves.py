"""Curves: panels of lines with bands, and the columns of the data behind them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tellsign.results.figures.drawing import Columns, printed
from tellsign.results.figures.measured import cell_of
from tellsign.results.figures.page import DASHES, LINES, MARKERS, legend_below, legend_height, page

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Curve:
    """One line of a panel: ``mean`` over seeds at each ``x``; ``sd`` is nan where there is one seed only."""

    label: str
    x: Float[np.ndarray, " n"]
    mean: Float[np.ndarray, " n"]
    sd: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class CurvePanel:
    """One set of axes with lines: what is on its axes, with units; names of the ticks at 0, 1, ..."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Curve, ...]
    ticks: tuple[str, ...] = ()


def curves(
    panels: Sequence[CurvePanel], title: str, note: str, banner: str, *, markers: bool
) -> tuple[Figure, list[Axes]]:
    """Panels of lines with bands, up to three across, with one legend under all of them."""

    import numpy as np

    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    across = 2 if len(panels) == 4 else min(3, len(panels))
    down = math.ceil(len(panels) / across)
    height = {1: 3.0, 2: 2.5, 3: 2.2}[across]
    legend = legend_height(labels)
    figure = page(down * height + legend, title, note, banner)
    grid = figure.add_gridspec(down + 1, across, height_ratios=[height] * down + [legend])
    all_axes: list[Axes] = []
    handles: dict[str, Any] = {}
    shared: dict[str, Axes] = {}
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(grid[i // across, i % across], sharey=shared.get(panel.y_label))
        same_as_left = i % across and panels[i - 1].y_label == panel.y_label
        shared.setdefault(panel.y_label, axes)
        for line in panel.lines:
            n = labels.index(line.label)
            colour = LINES[n % len(LINES)]
            (handles[line.label],) = axes.plot(
                line.x,
                line.mean,
                color=colour,
                linestyle=DASHES[n % len(DASHES)],
                marker=MARKERS[n % len(MARKERS)] if markers else "",
            )
            if np.isfinite(line.sd).any():
                axes.fill_between(
                    line.x, line.mean - line.sd, line.mean + line.sd, color=colour, alpha=0.15, linewidth=0
                )
        axes.set_title(panel.title)
        axes.set_xlabel(panel.x_label)
        axes.grid(axis="y")
        if same_as_left:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(panel.y_label)
        if panel.ticks:
            axes.set_xticks(range(len(panel.ticks)), panel.ticks)
            axes.set_xlim(-0.25, len(panel.ticks) - 0.75)
        all_axes.append(axes)
    legend_below(figure, grid, [handles[label] for label in labels], labels)
    return figure, all_axes


def curve_columns() -> Columns:
    """Columns of the data behind a curve."""
    return {c: [] for c in ("panel", "line", "x", "x_label", "metric", "value", "sd", "seeds")}


def line_of(points: Sequence[tuple[float, float, float]], label: str) -> Curve:
    """A line through (x, mean, sd), ordered by x."""

    import numpy as np

    x, mean, sd = np.array(sorted(points), dtype=np.float64).T
    return Curve(label, x, mean, sd)


def panels_of(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Title, metric and conditions of each panel."""
    for panel in spec["panels"]:
        where = {"subset": spec["subset"], "metric": spec["metric"]} | cell_of(panel)
        title = panel.get("title", "" if where["subset"] == "mean" else printed(spec, where["subset"]))
        yield str(title), where["metric"], where
