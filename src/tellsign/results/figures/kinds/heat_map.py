"""A number for every (trained on, tested on), one panel a method."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tellsign.results.figures.drawing import Columns, Drawing, Inputs, add, as_label, expanded, printed
from tellsign.results.figures.measured import Metrics, cell_of
from tellsign.results.figures.page import SMALL, WIDTH, drawing, metric_label, page
from tellsign.schema.fields import Several
from tellsign.schema.figures import MetricFigure

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class HeatMap(MetricFigure):
    """A number for every (trained on, tested on).

    Attributes:
        metric: Name of a metric.
        subsets: Tested on; none for all.
        mean: Show the mean over subsets as well.
        rows_are: What the rows differ in.
    """

    kind: Literal["heat_map"]
    metric: str = "accuracy"
    subsets: Several[str] = ()
    mean: bool = True
    rows_are: str = "trained on"


def heat_map(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Cells of every (panel, trained on, tested on)."""

    import numpy as np

    metrics = Metrics(inputs.metrics, spec)
    cells = [
        (str(row.get("panel", "")), as_label(train), row | {"run": run})
        for row in spec["rows"]
        for train, run in expanded(spec, row, "train")
    ]
    trains = list(dict.fromkeys(train for _, train, _ in cells))
    tests = metrics.subsets(cells[0][2])
    panels = {name: np.full((len(trains), len(tests)), np.nan) for name, _, _ in cells}
    columns: Columns = {c: [] for c in ("panel", "trained_on", "tested_on", "metric", "value", "sd", "seeds")}
    for name, train, row in cells:
        for j, test in enumerate(tests):
            mean, sd, n = metrics.over_seeds(row["run"], cell_of(row) | {"subset": test})
            panels[name][trains.index(train), j] = mean
            add(columns, name, train, test, spec["metric"], mean, sd, n)
    plot = functools.partial(
        draw,
        panels,
        train=[printed(spec, name) for name in trains],
        test=[printed(spec, name) for name in tests],
        metric=spec["metric"],
        rows_are=spec["rows_are"],
    )
    return Drawing(plot, columns, metrics.caption(""))


@drawing
def draw(
    panels: Mapping[str, Float[np.ndarray, "train test"]],
    *,
    train: Sequence[str],
    test: Sequence[str],
    metric: str,
    rows_are: str = "trained on",
    title: str = "",
    note: str = "",
    banner: str = "",
) -> Figure:
    """A number for every (trained on, tested on), one panel a method (MPFT Fig. 4, LoL Fig. 4, 5).

    Args:
        panels: Method to values in the metric's drawn unit (percent); nan leaves a cell empty.
        train: Names of the rows.
        test: Names of the columns.
        metric: Name in `METRICS`.
        rows_are: What the rows differ in.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """

    import matplotlib
    import numpy as np

    cell = 0.34
    side = 0.1 + max(map(len, train)) * SMALL * 0.6 / 72
    across = max(1, min(len(panels), int((WIDTH - side) / (cell * len(test) + 0.1))))
    down = math.ceil(len(panels) / across)
    slant = 0.15 + max(map(len, test)) * SMALL * 0.6 / 72 * 0.75
    figure = page(down * (cell * len(train) + 0.27) + slant + 0.62, title, note, banner)
    grid = figure.add_gridspec(down, across)
    low, high = _scale_of(np.concatenate([np.ravel(v) for v in panels.values()]))
    colours = matplotlib.colormaps["Blues"]
    drawn: list[Axes] = []
    for i, (name, values) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[i // across, i % across])
        axes.imshow(values, cmap=colours, vmin=low, vmax=high)
        axes.set_title(name)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        last = i + across >= len(panels)
        axes.set_xticks(range(len(test)), test if last else [], rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(train)), train if i % across == 0 else [])
        if i % across == 0:
            axes.set_ylabel(rows_are)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = (value - low) / max(high - low, 1e-9) > 0.6
                text = f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}"
                axes.text(
                    column,
                    row,
                    text,
                    ha="center",
                    va="center",
                    size=SMALL,
                    color="white" if dark else "black",
                )
        drawn.append(axes)
    bar = figure.colorbar(drawn[-1].images[0], ax=drawn, location="bottom", shrink=0.5, aspect=40, pad=0.02)
    bar.set_label(f"{metric_label(metric)}; columns: tested on")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def _scale_of(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Colour limits: 50 (chance) or the next ten below the least value; the next ten above the greatest."""

    import numpy as np

    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    return min(50.0, math.floor(finite.min() / 10) * 10), max(60.0, math.ceil(finite.max() / 10) * 10)
