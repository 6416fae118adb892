"""Bars of every (test set, run)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

from tellsign.results.figures.bar_chart import draw
from tellsign.results.figures.drawing import Columns, Drawing, Inputs, add, printed
from tellsign.results.figures.measured import Metrics, cell_of
from tellsign.schema.fields import Several
from tellsign.schema.figures import MetricFigure


class Bars(MetricFigure):
    """Bars: one group a test set, one bar a run.

    Attributes:
        metric: Name of a metric.
        subsets: Tested on; none for all.
        mean: Show the mean over subsets as well.
    """

    kind: Literal["bars"]
    metric: str = "ap_fake"
    subsets: Several[str] = ()
    mean: bool = True


def bars(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Bars of every (test set, run)."""

    import numpy as np

    metrics = Metrics(inputs.metrics, spec)
    rows = spec["rows"]
    tests = metrics.subsets(rows[0])
    values, errors = np.full((2, len(rows), len(tests)), np.nan)
    columns: Columns = {c: [] for c in ("bar", "tested_on", "metric", "value", "sd", "seeds")}
    for i, row in enumerate(rows):
        for j, test in enumerate(tests):
            values[i, j], errors[i, j], n = metrics.over_seeds(row["run"], cell_of(row) | {"subset": test})
            add(columns, row["label"], test, spec["metric"], values[i, j], errors[i, j], n)
    plot = functools.partial(
        draw,
        values,
        errors,
        series=[row["label"] for row in rows],
        groups=[printed(spec, name) for name in tests],
        metric=spec["metric"],
    )
    return Drawing(plot, columns, metrics.caption("whiskers are"))
