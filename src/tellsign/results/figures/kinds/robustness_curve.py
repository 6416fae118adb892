"""A metric against the severity of perturbations, one panel a perturbation."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tellsign.errors import UserError
from tellsign.results.figures.curves import CurvePanel, curve_columns, curves, line_of, panels_of
from tellsign.results.figures.drawing import Drawing, Inputs, add
from tellsign.results.figures.measured import Metrics, cell_of
from tellsign.results.figures.page import drawing, metric_label
from tellsign.schema.fields import Several
from tellsign.schema.figures import Curves, Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RobustnessCurve(Curves):
    """A metric against the severity of perturbations.

    Attributes:
        panels: One a perturbation, with its ``severities``.
        metric: Name of a metric.
    """

    kind: Literal["robustness_curve"]
    panels: Several[Panel]
    metric: str = "ap_fake"


def robustness_curve(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Lines over the severities of perturbations.

    Raises:
        UserError: a panel has no severities.
    """
    metrics = Metrics(inputs.metrics, spec)
    columns = curve_columns()
    panels = []
    for panel, (title, metric, where) in zip(spec["panels"], panels_of(spec), strict=True):
        ticks = tuple(tick for tick, _ in panel["severities"])
        if not ticks:
            raise UserError(f"figure {spec['name']!r}: panel {title!r} needs severities {{tick: test set}}.")
        x_label = panel.get("x_label", "severity")
        curves_drawn = []
        for row in spec["rows"]:
            points = []
            for x, (tick, name) in enumerate(panel["severities"]):
                mean, sd, n = metrics.over_seeds(row["run"], where | cell_of(row) | {"perturbation": name})
                points.append((float(x), mean, sd))
                add(columns, title, row["label"], tick, x_label, metric, mean, sd, n)
            curves_drawn.append(line_of(points, row["label"]))
        panels.append(CurvePanel(title, x_label, metric_label(metric), tuple(curves_drawn), ticks))
    return Drawing(functools.partial(draw, panels), columns, metrics.caption("bands are"))


@drawing
def draw(panels: Sequence[CurvePanel], *, title: str = "", note: str = "", banner: str = "") -> Figure:
    """A metric against severity, one panel a perturbation, one line a method (TIDY Fig. 3).

    Args:
        panels: ``ticks`` name the severities at x = 0, 1, ...; all panels share the y axis.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """
    return curves(panels, title, note, banner, markers=True)[0]
