"""Points of every (feature space, class) in the plane, by t-SNE."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tellsign.results.figures.drawing import Columns, Drawing, Inputs, add, printed, short_name
from tellsign.results.figures.networks import Networks
from tellsign.results.figures.page import MARKERS, WIDTH, drawing, legend_below, legend_height, page
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.figures import CroppedFigure, NetworkFigure

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from matplotlib.figure import Figure


CLASSES = ("#332288", "#CC6677", "#117733", "#88CCEE", "#882255", "#999933", "#AA4499", "#DDAA33", "#44AA99")
"""Paul Tol's muted scheme (2021), for up to nine generators; real images are black."""

REAL_COLOUR = "#000000"


class TSNE(CroppedFigure, NetworkFigure):
    """Points of every (feature space, class) in the plane.

    Attributes:
        crop: Side of the crops, in pixels; 0 where features are cached.
        per_class: Images of each class.
        seed: Of t-SNE.
    """

    kind: Literal["tsne"]
    crop: NonNegative[int] = 0
    per_class: Positive[int] = 200
    seed: NonNegative[int] = 0


def tsne(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Points of every (feature space, class)."""
    networks = Networks(spec, inputs)
    from tellsign.evaluation import explain

    panels: dict[str, dict[str, Float[np.ndarray, "n 2"]]] = {}
    columns: Columns = {c: [] for c in ("panel", "class", "id", "x", "y")}
    for row in spec["rows"]:
        per_class = spec["per_class"]
        subsets = row.get("subsets", spec["subsets"])
        classes = networks.classes(networks.split_of(row), subsets, per_class, per_class)
        ids = [image for of_class in classes.values() for image in of_class]
        vectors = (cached_features if networks.has_features(row) else backbone_features)(networks, row, ids)
        points = explain.tsne(vectors, spec["seed"])
        names = [name for name, of_class in classes.items() for _ in of_class]
        panels[row["label"]] = {printed(spec, name): points[[other == name for other in names]] for name in classes}
        for name, image, point in zip(names, ids, points, strict=True):
            add(columns, row["label"], name, image, *point.tolist())
    caption = (
        f"{spec['per_class']} images a class. {networks.how_cropped()}"
        "t-SNE keeps neighbourhoods: its axes have no unit, and distances between clusters no meaning."
    )
    return Drawing(functools.partial(draw, panels, real=printed(spec, "real")), columns, caption)


def backbone_features(networks: Networks, row: Mapping[str, Any], ids: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """Features of images by the row's backbone; with ``rescale: SIDE`` of resized images (rescale Fig. 6)."""
    import torch

    backbone, side = networks.backbone(row)
    features = []
    with torch.no_grad():
        for images in networks.crops(networks.split_of(row), ids, side):
            if row.get("rescale"):
                images = torch.nn.functional.interpolate(images.float(), size=row["rescale"], mode="bilinear")
                images = images.round().to(torch.uint8)
            features.append(backbone(backbone.preprocess(images.to(networks.device))).float().cpu())
    return torch.cat(features).numpy()


def cached_features(networks: Networks, row: Mapping[str, Any], ids: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """TIDY's representation D of images, from cached embeddings and with the choices of the run's recipe."""
    from tellsign.methods.representation import representation

    features = networks.features_of(row)
    values = representation(features, networks.spec["recipes"][short_name(row["run"])]["discrepancy"])
    return values[features.rows_of(ids)].numpy()


@drawing
def draw(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, "n 2"]]],
    *,
    real: str = "real",
    title: str = "",
    note: str = "",
    banner: str = "",
) -> Figure:
    """Points in the plane, one panel a feature space, one colour and marker a class.

    MPFT Fig. 1, LoL Fig. 1, rescale Fig. 6, TIDY Fig. 9.

    Args:
        panels: Feature space to class to points; the axes have no unit (t-SNE keeps neighbourhoods only).
        real: The class drawn in black.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """
    from matplotlib.lines import Line2D

    labels = list(dict.fromkeys(name for classes in panels.values() for name in classes))
    labels.sort(key=lambda name: name != real)
    fakes = [name for name in labels if name != real]
    look = {name: (CLASSES[i % len(CLASSES)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(fakes)}
    look[real] = (REAL_COLOUR, "+")
    across = 2 if len(panels) in (2, 4) else min(3, len(panels))
    down = math.ceil(len(panels) / across)
    side = min(WIDTH / across, 4.2)
    legend = legend_height(labels)
    figure = page(down * (side + 0.15) + legend, title, note, banner)
    grid = figure.add_gridspec(down + 1, across, height_ratios=[side + 0.15] * down + [legend], hspace=0.08)
    for i, (name, classes) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[i // across, i % across])
        for label, points in classes.items():
            colour, marker = look[label]
            hollow = marker == "+"
            axes.scatter(
                points[:, 0],
                points[:, 1],
                s=16,
                c=colour,
                marker=marker,
                alpha=0.8,
                linewidths=0.9 if hollow else 0.0,
            )
        axes.set_title(name)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color("#AAAAAA")
        axes.set_box_aspect(1)
        axes.margins(0.05)
    handles = [Line2D([], [], linestyle="", color=look[name][0], marker=look[name][1], markersize=5) for name in labels]
    legend_below(figure, grid, handles, labels)
    return figure
