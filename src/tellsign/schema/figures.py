"""What a paper file may say of a figure.

Every kind of figure has settings of its own beside what computes and draws it
(`tellsign.results.figures.kinds`); what they share stands here. `figure_settings` checks a figure and completes it:
the stage is given the completed form, so that a fingerprint holds what is meant, not how it was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, model_validator

from tellsign.errors import choose
from tellsign.results.figures.kinds import FIGURE_KINDS
from tellsign.schema.fields import Named, Pair, Positive, Several
from tellsign.schema.loading import build
from tellsign.schema.settings import Settings

Checkpoint = Literal["last", "mean", "best", "epoch"]


class Figure(Settings):
    """A figure of a paper file.

    Attributes:
        title: Stands above it.
        note: How to read it, beside what is said of its own accord.
        names: Name of a subset to what it is called.
    """

    title: str = ""
    note: str = ""
    names: Named[str] = Field(default_factory=dict)


class Cell(Settings):
    """Which of a run's metrics are drawn; null takes any.

    Attributes:
        benchmark: Name of a benchmark.
        perturbation: Name of a test set's perturbation.
        checkpoint: ``last``, ``mean`` of the kept epochs, ``best`` of them on validation images, every ``epoch``.
    """

    benchmark: str | None = None
    perturbation: str | None = "none"
    checkpoint: Checkpoint | None = "last"


class MetricRow(Cell):
    """Runs whose metrics are drawn: one by its name, or those of a grid with the field of the recipe that varies.

    Attributes:
        label: What it is called.
        run: Name of a run, after ``PAPER/`` where it is another paper's.
        grid: Name of a grid.
        field: Dotted field of the recipe, such as ``mask.ratio``.
        panel: Heading of its panel.
        train: What its run was trained on.
        x: Place of its run on the axis, a number or a range.
    """

    label: str | None = None
    run: str | None = None
    grid: str | None = None
    field: str | None = None
    panel: str | None = None
    train: Any = None
    x: Any = None


class Panel(Cell):
    """A panel of curves, which may say of its metrics what the figure says otherwise.

    Attributes:
        title: Its heading.
        x_label: What is on the axis.
        metric: Name of a metric.
        subset: Name of a subset, or ``mean`` over all.
        severities: Of a perturbation, what stands at a tick → name of the perturbation of a test set.
    """

    title: str | None = None
    x_label: str | None = None
    metric: str | None = None
    subset: str | None = None
    severities: Annotated[Several[Pair[str]], WithJsonSchema({"type": ["object", "array"]})] = ()

    @model_validator(mode="before")
    @classmethod
    def _severities_in_order(cls, data: Any) -> Any:
        """As (tick, perturbation) pairs: JSON may lose the order of a mapping."""
        severities = data.get("severities", {}) if isinstance(data, Mapping) else None
        if isinstance(severities, Mapping):
            return {**data, "severities": [(str(tick), str(name)) for tick, name in severities.items()]}
        return data


class MetricFigure(Figure, Cell):
    """A figure that is drawn from metrics.

    Attributes:
        rows: What is drawn.
    """

    rows: Several[MetricRow]


class Curves(MetricFigure):
    """Panels of curves.

    Attributes:
        metric: Name of a metric.
        subset: Name of a subset, or ``mean`` over all.
    """

    metric: str = "accuracy"
    subset: str = "mean"


class RecipeCurves(Curves):
    """Panels of curves over what a recipe says.

    Attributes:
        panels: Each says what differs from the figure.
    """

    panels: Several[Panel] = Field(default_factory=lambda: (Panel(),))


class NetworkSource(Settings):
    """A network that is shown, of a run or an encoder.

    Attributes:
        run: Name of a run.
        encoder: Name of a section of ``pretrain``.
    """

    run: str | None = None
    encoder: str | None = None


class NetworkRow(NetworkSource):
    """A network with the images that are shown to it.

    Attributes:
        label: What it is called.
        split: Instead of the figure's.
        subsets: Instead of the figure's.
        rescale: Side in pixels to which the images are resized first.
    """

    label: str | None = None
    split: str | None = None
    subsets: Several[str] = ()
    rescale: Positive[int] | None = None


class ImageFigure(Figure):
    """A figure that is made from images.

    Attributes:
        split: Name of the split whose images are shown.
        subsets: Names of the subsets; none for all.
    """

    split: str
    subsets: Several[str] = ()


class CroppedFigure(ImageFigure):
    """A figure of crops of images.

    Attributes:
        crop_at: Where the crop lies: ``center``, where a smaller image is tiled, or ``random``, at a place that follows
            from the image's id; an image that is smaller than the crop then has none and does not enter.
    """

    crop_at: Literal["center", "random"] = "center"


class NetworkFigure(ImageFigure):
    """A figure that is made from images and networks.

    Attributes:
        rows: The networks.
    """

    rows: Several[NetworkRow]


PLANNED: dict[str, Any] = {"paper": "", "name": "", "banner": "", "recipes": {}}
"""What the plan adds: the names of paper and figure, what stands under it, and the recipes of its runs."""


def figure_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """Check a figure and complete it: every default is filled in. A completed figure is completed to itself.

    Raises:
        UserError: an unknown kind, or an unknown, missing or wrong key; the message names the figure.
    """
    kind, where = str(data.get("kind", "")), f"figure {data.get('name', '')!r}"
    choose(FIGURE_KINDS, kind, f"kind of {where}")
    said = {key: value for key, value in data.items() if key not in PLANNED}
    figure = build(FIGURE_KINDS.settings_of(kind), said, f"{where} ({kind})")
    planned = {key: data.get(key, default) for key, default in PLANNED.items()}
    return planned | {key: _as_said(value) for key, value in figure}


def _as_said(value: Any) -> Any:
    """As plain data; rows and panels with what they say alone, since the figure says the rest."""
    if isinstance(value, Settings):
        return {key: _as_said(part) for key, part in value if key in value.model_fields_set}
    if isinstance(value, (list, tuple)):
        return [_as_said(part) for part in value]
    return {key: _as_said(part) for key, part in value.items()} if isinstance(value, Mapping) else value
