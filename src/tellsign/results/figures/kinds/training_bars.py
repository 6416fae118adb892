"""Bars of every (training set, metric): the mean over test sets."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

from tellsign.results.figures.bar_chart import draw
from tellsign.results.figures.drawing import Columns, Drawing, Inputs, add, as_label, expanded, printed
from tellsign.results.figures.measured import Metrics, cell_of
from tellsign.results.figures.page import metric_label
from tellsign.schema.fields import Several
from tellsign.schema.figures import Checkpoint, MetricFigure


class TrainingBars(MetricFigure):
    """Bars: one group a training set, one bar a metric.

    Attributes:
        metric: Names of metrics.
        subset: Name of a subset, or ``mean`` over all.
        spread: Whiskers are the deviation over ``seeds``, or over the kept ``epochs`` (as LoL prints it).
    """

    kind: Literal["training_bars"]
    metric: Several[str] = ("accuracy", "ap_fake", "ap_real")
    subset: str = "mean"
    checkpoint: Checkpoint | None = "mean"
    spread: Literal["seeds", "epochs"] = "epochs"


def training_bars(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Bars of every (training set, metric): the mean over test sets."""

    import numpy as np

    metrics = Metrics(inputs.metrics, spec)
    cases = [
        (as_label(train), run, cell_of(row)) for row in spec["rows"] for train, run in expanded(spec, row, "train")
    ]
    wanted = list(spec["metric"])
    values, errors = np.full((2, len(wanted), len(cases)), np.nan)
    columns: Columns = {c: [] for c in ("trained_on", "metric", "value", "sd", "seeds")}
    for j, (train, run, own) in enumerate(cases):
        for i, metric in enumerate(wanted):
            where = {"subset": spec["subset"]} | own | {"metric": metric}
            values[i, j], errors[i, j], n = metrics.over_seeds(run, where)
            add(columns, train, metric, values[i, j], errors[i, j], n)
    plot = functools.partial(
        draw,
        values,
        errors,
        series=[metric_label(metric).removesuffix(" (%)") for metric in wanted],
        groups=[printed(spec, train) for train, _, _ in cases],
        metric="percent",
    )
    return Drawing(plot, columns, metrics.caption("whiskers are"))
