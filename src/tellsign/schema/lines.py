"""What a configuration may say of a table's rows and columns: what they select, and where printed numbers stand."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tellsign.errors import near_miss
from tellsign.evaluation.metrics import COMPARISONS, METRICS, described
from tellsign.schema.fields import Named, Several
from tellsign.schema.settings import Settings

METRIC_LABELS: dict[str, str] = {
    name: metric.label
    for name in (*METRICS, *COMPARISONS)
    if (metric := described(name)) is not None and metric.unit == "%"
}
"""Heading of each metric; all are shown in percent."""

Names = str | Several[str]


def as_list(value: Any) -> list[Any]:
    """A list or tuple as a list, anything else as a list of one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def known_metric(metric: str) -> str:
    """The name of a metric as it came.

    Raises:
        ValueError: there is none of this name.
    """
    if metric not in METRIC_LABELS:
        listed = ", ".join(sorted(METRIC_LABELS))
        raise ValueError(f"unknown metric {metric!r}.{near_miss(metric, METRIC_LABELS)} Known: {listed}.")
    return metric


class PrintedAt(Settings):
    """Where a printed number stands in ``config/published``, as far as common to all cells.

    Attributes:
        artifact: The paper's table, such as ``table1``.
        method: Label of its row.
        setting: Group of its row or column.
        subset: Test set; ``Avg`` for the mean over test sets.
        metric: ``accuracy`` or ``ap``.
    """

    artifact: str | None = None
    method: str | None = None
    setting: str | None = None
    subset: str | None = None
    metric: str | None = None


class Selection(Settings):
    """What a cell shows; a table says it for all cells, a column and then a row may say otherwise.

    Attributes:
        run: Name of a run, after ``PAPER/`` where it is another paper's.
        runs: Several runs, whose numbers are averaged.
        benchmark: Null takes the only one that the run was tested on.
        subset: Name of a subset, or ``mean`` over all.
        without: Subsets that are left out of the mean.
        perturbation: Name of a test set's perturbation; null takes the only one.
        checkpoint: ``last``, ``mean`` of the kept epochs, ``best`` of them on validation images, ``worst`` of them on
            the test images (of several runs, of their mean).
        protocol: Fields of ``evaluate`` that differ from the configuration's; the plan puts its name in its place.
    """

    run: str | None = None
    runs: Several[str] = ()
    benchmark: str | None = None
    subset: str = "mean"
    without: Several[str] = ()
    perturbation: str | None = "none"
    checkpoint: Literal["last", "mean", "best", "worst"] = "last"
    protocol: str | Named[Any] = ""


class RunsOrGrid(Selection):
    """A selection whose runs may be those of a grid.

    Attributes:
        grid: The runs of this grid, or of several, are averaged.
    """

    grid: Names | None = None


class Line(RunsOrGrid):
    """A row or column of a table. A plain name stands for one that selects it and is called so.

    Attributes:
        metric: Name of a metric, where the columns are metrics.
        less: Its numbers are subtracted; what it does not say is as the row says it.
        released: A released checkpoint of the same detector, a name under ``released`` of the paper file; the table
            then has a column with it, where the configuration says ``released: true``.
        why: Of a row that is only quoted: why nothing is run for it.
        label: What it is called; default what it selects.
        group: Neighbours of the same group stand under one heading.
        quoted: Where its printed numbers stand. A row's plain name is the ``method``, a column's the ``subset`` (kind
            subsets) or the ``setting``. A row that says nothing else is a printed one that was not run.
    """

    metric: str | None = None
    less: RunsOrGrid | None = None
    released: str | None = None
    why: str = ""
    label: str | None = None
    group: str = ""
    quoted: str | PrintedAt | None = None

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str | None) -> str | None:
        return metric if metric is None else known_metric(metric)

    @model_validator(mode="after")
    def _why_of_a_run(self) -> Self:
        if self.why and (self.run or self.runs or self.grid):
            raise ValueError("'why' says why nothing is run, but the row names a run.")
        return self


class Axis(Settings):
    """Rows or columns of a grid: a field of its runs' recipes.

    Attributes:
        field: Such as ``mask.ratio``.
        label: What the field is called.
        names: Value of the field to what it is called.
        quoted: Value of the field to its printed name; default the value itself.
    """

    field: str
    label: str | None = None
    names: Named[str] = Field(default_factory=dict)
    quoted: Named[str] | None = None
