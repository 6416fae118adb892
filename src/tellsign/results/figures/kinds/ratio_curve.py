"""A metric against a setting of the recipe: mask ratio, patch size, number of images."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tellsign.results.figures.curves import CurvePanel, curve_columns, curves, line_of, panels_of
from tellsign.results.figures.drawing import Drawing, Inputs, add, as_number, expanded
from tellsign.results.figures.measured import Metrics, cell_of
from tellsign.results.figures.page import drawing, metric_label
from tellsign.schema.figures import RecipeCurves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RatioCurve(RecipeCurves):
    """A metric against a setting of the recipe.

    Attributes:
        x_label: What is on the axis.
        log: Logarithmic axis, for data volumes.
        spread: Bands are the deviation over ``seeds``, or over the kept ``epochs`` (as LoL prints it).
    """

    kind: Literal["ratio_curve"]
    x_label: str
    log: bool = False
    spread: Literal["seeds", "epochs"] = "seeds"


def ratio_curve(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Lines over a setting of the recipe."""
    metrics = Metrics(inputs.metrics, spec)
    lines: dict[str, list[tuple[float, str, dict[str, Any]]]] = {}
    for row in spec["rows"]:
        for value, run in expanded(spec, row, "x"):
            x = as_number(value, f"figure {spec['name']!r}, run {run}")
            lines.setdefault(row["label"], []).append((x, run, cell_of(row)))
    columns = curve_columns()
    panels = []
    for title, metric, where in panels_of(spec):
        curves_drawn = []
        for label, places in lines.items():
            points = []
            for x, run, own in sorted(places, key=lambda place: place[0]):
                mean, sd, n = metrics.over_seeds(run, where | own)
                points.append((x, mean, sd))
                add(columns, title, label, x, spec["x_label"], metric, mean, sd, n)
            curves_drawn.append(line_of(points, label))
        panels.append(CurvePanel(title, spec["x_label"], metric_label(metric), tuple(curves_drawn)))
    return Drawing(functools.partial(draw, panels, log=spec["log"]), columns, metrics.caption("bands are"))


@drawing
def draw(
    panels: Sequence[CurvePanel], *, log: bool = False, title: str = "", note: str = "", banner: str = ""
) -> Figure:
    """A metric against a setting: mask ratio, patch size, number of images (MPFT Fig. 5, 7; LoL Tables 2, 3).

    Args:
        panels: One a metric or test set; bands are ± one standard deviation over seeds.
        log: Logarithmic x axis (data volumes).
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """

    import numpy as np

    figure, all_axes = curves(panels, title, note, banner, markers=True)
    for axes, panel in zip(all_axes, panels, strict=True):
        points = np.unique(np.concatenate([line.x for line in panel.lines]))
        if log:
            axes.set_xscale("log")
            axes.minorticks_off()
        if len(points) <= 8 and not panel.ticks:
            axes.set_xticks(points, [f"{x:,g}" for x in points])
    return figure
