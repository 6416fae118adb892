"""A metric over training, in epochs or in steps, one panel a test set."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tellsign.errors import UserError, choose
from tellsign.results.figures.curves import CurvePanel, curve_columns, curves, line_of, panels_of
from tellsign.results.figures.drawing import Drawing, Inputs, add
from tellsign.results.figures.measured import Metrics, cell_of
from tellsign.results.figures.page import drawing, metric_label
from tellsign.schema.figures import RecipeCurves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class StepsCurve(RecipeCurves):
    """A metric over training.

    Attributes:
        axis: In epochs, or in training steps where the recipe says how many an epoch has.
    """

    kind: Literal["steps_curve"]
    axis: Literal["epoch", "step"] = "epoch"


def steps_curve(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Lines over epochs, or over steps where the recipe says how many an epoch has."""
    metrics = Metrics(inputs.metrics, spec)
    factors = {row["run"]: steps_per_epoch(spec, row["run"]) for row in spec["rows"]}
    x_label = {"epoch": "epoch", "step": "training step"}[spec["axis"]]
    columns = curve_columns()
    panels = []
    for title, metric, where in panels_of(spec):
        curves_drawn = []
        for row in spec["rows"]:
            every = where | cell_of(row) | {"checkpoint": "epoch"}
            points = []
            for epoch in sorted({measured["epoch"] for measured in metrics.select(row["run"], every)}):
                mean, sd, n = metrics.over_seeds(row["run"], every | {"epoch": epoch})
                points.append((epoch * factors[row["run"]], mean, sd))
                add(columns, title, row["label"], points[-1][0], x_label, metric, mean, sd, n)
            curves_drawn.append(line_of(points, row["label"]))
        panels.append(CurvePanel(title, x_label, metric_label(metric), tuple(curves_drawn)))
    caption = metrics.caption("bands are").removeprefix("Last epoch, ")
    return Drawing(functools.partial(draw, panels), columns, caption[:1].upper() + caption[1:])


def steps_per_epoch(spec: Mapping[str, Any], run: str) -> float:
    """1 for an axis in epochs; for one in steps, batches of an epoch by the run's recipe.

    Raises:
        UserError: the recipe does not say how many images an epoch has.
    """
    if spec["axis"] == "epoch":
        return 1.0
    recipe = choose(spec["recipes"], run.rpartition("/")[2], "run among the recipes")
    if recipe.get("epoch_steps") is not None:
        return float(recipe["epoch_steps"])
    count, subsets = recipe["data"]["count"], recipe["data"]["subsets"]
    if not isinstance(count, int) or not subsets:
        raise UserError(
            f"figure {spec['name']!r}: axis step needs data.count and data.subsets in run {run}, which "
            f"takes {count!r} images a subset. Give a number, or say axis: epoch."
        )
    return float(-(-count * len(subsets) // recipe["batch_size"]))


@drawing
def draw(panels: Sequence[CurvePanel], *, title: str = "", note: str = "", banner: str = "") -> Figure:
    """A metric over training, one panel a test set, one line a method (MPFT Fig. 2, LoL Fig. 2).

    Args:
        panels: x is in training steps or epochs, as ``x_label`` says; bands are ± one sd over seeds.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """
    from matplotlib.ticker import MaxNLocator

    longest = max(len(line.x) for panel in panels for line in panel.lines)
    figure, all_axes = curves(panels, title, note, banner, markers=longest <= 25)
    for axes in all_axes:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return figure
