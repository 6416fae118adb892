"""Kinds of figures: what each is made from, how its data are computed and how they are drawn.

To add one, write its module beside this one and its line below. The module holds a function from the figure's completed
settings and a `tellsign.results.figures.drawing.Inputs` to a `tellsign.results.figures.drawing.Drawing`, and ``draw``,
from arrays to a page. ``robustness_curve`` is the shortest example of metrics, ``image_text_similarity`` of networks.
numpy, torch and matplotlib are imported inside functions: the plan reads the settings of a module without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from tellsign.registry import Record, Registry


@dataclass(frozen=True, kw_only=True)
class FigureKind(Record):
    """A kind of figure.

    Attributes:
        made_from: ``metrics`` alone, or ``networks`` and images.
    """

    made_from: Literal["metrics", "networks"]


_HERE = "tellsign.results.figures.kinds"

FIGURE_KINDS = Registry(
    "kind of figure",
    {
        "heat_map": FigureKind(f"{_HERE}.heat_map", "heat_map", settings="HeatMap", made_from="metrics"),
        "ratio_curve": FigureKind(f"{_HERE}.ratio_curve", "ratio_curve", settings="RatioCurve", made_from="metrics"),
        "robustness_curve": FigureKind(
            f"{_HERE}.robustness_curve", "robustness_curve", settings="RobustnessCurve", made_from="metrics"
        ),
        "steps_curve": FigureKind(f"{_HERE}.steps_curve", "steps_curve", settings="StepsCurve", made_from="metrics"),
        "bars": FigureKind(f"{_HERE}.bars", "bars", settings="Bars", made_from="metrics"),
        "training_bars": FigureKind(
            f"{_HERE}.training_bars", "training_bars", settings="TrainingBars", made_from="metrics"
        ),
        "image_text_similarity": FigureKind(
            f"{_HERE}.image_text_similarity",
            "image_text_similarity",
            settings="ImageTextSimilarity",
            made_from="networks",
        ),
        "tsne": FigureKind(f"{_HERE}.tsne", "tsne", settings="TSNE", made_from="networks"),
        "cam": FigureKind(f"{_HERE}.cam", "cam", settings="CAM", made_from="networks"),
        "similarity_map": FigureKind(
            f"{_HERE}.similarity_map", "similarity_map", settings="SimilarityMap", made_from="networks"
        ),
    },
)
"""What makes a figure, by its kind."""


def is_made_from_metrics(kind: str) -> bool:
    """Whether a kind of figure needs metrics alone, no network and no image."""
    return cast(FigureKind, FIGURE_KINDS.find(kind)).made_from == "metrics"
