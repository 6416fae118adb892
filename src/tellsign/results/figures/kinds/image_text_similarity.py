"""Cosine of the embeddings of each image and its caption."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tellsign.results.figures.drawing import Columns, Drawing, Inputs, add, printed
from tellsign.results.figures.networks import Networks
from tellsign.results.figures.page import DASHES, LINES, drawing, legend_below, legend_height, page
from tellsign.schema.fields import Positive
from tellsign.schema.figures import NetworkFigure

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from matplotlib.figure import Figure
    from torch import Tensor


class ImageTextSimilarity(NetworkFigure):
    """Cosine of the embeddings of each image and its caption.

    Attributes:
        per_class: Images of each class.
    """

    kind: Literal["image_text_similarity"]
    per_class: Positive[int] = 50


def image_text_similarity(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Cosine of the embeddings of each image and its caption, by (row, class)."""
    networks = Networks(spec, inputs)
    panels: dict[str, dict[str, Float[np.ndarray, " n"]]] = {}
    columns: Columns = {c: [] for c in ("panel", "class", "id", "cosine")}
    means = []
    for row in spec["rows"]:
        features, per_class = networks.features_of(row), spec["per_class"]
        subsets = row.get("subsets", spec["subsets"])
        panel = panels.setdefault(row["label"], {})
        for name, ids in networks.classes(networks.split_of(row), subsets, per_class, per_class).items():
            rows = features.rows_of(ids)
            cosine = cosines(features.image[rows], features.text[rows])
            panel[printed(spec, name)] = cosine
            means.append(f"{row['label']}, {printed(spec, name)} {cosine.mean():.3f}")
            for image, value in zip(ids, cosine.tolist(), strict=True):
                add(columns, row["label"], name, image, value)
    caption = f"{spec['per_class']} images a class; lines are means: {'; '.join(means)}."
    plot = functools.partial(draw, panels, x_label="cosine of image and caption")
    return Drawing(plot, columns, caption)


def cosines(a: Tensor, b: Tensor) -> Float[np.ndarray, " n"]:
    """Cosine of each pair of rows."""
    import torch

    return torch.nn.functional.cosine_similarity(a.float(), b.float(), dim=1).numpy()


@drawing
def draw(
    panels: Mapping[str, Mapping[str, Float[np.ndarray, " n"]]],
    *,
    x_label: str,
    title: str = "",
    note: str = "",
    banner: str = "",
) -> Figure:
    """Distribution of a number in each class, one panel a test set (TIDY Fig. 1b).

    Args:
        panels: Test set to class to the values of its images; drawn as shares in common bins, the mean as a line.
        x_label: What the number is.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """

    import numpy as np
    from matplotlib.ticker import MaxNLocator

    labels = list(dict.fromkeys(name for classes in panels.values() for name in classes))
    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    legend = legend_height(labels)
    figure = page(down * 2.3 + legend, title, note, banner)
    grid = figure.add_gridspec(down + 1, across, height_ratios=[2.3] * down + [legend])
    everything = np.concatenate([values for classes in panels.values() for values in classes.values()])
    bins = np.linspace(float(everything.min()), float(everything.max()), 25)
    handles: dict[str, Any] = {}
    for i, (name, classes) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[i // across, i % across])
        for label, values in classes.items():
            n = labels.index(label)
            colour = LINES[n % len(LINES)]
            share = np.full(len(values), 100 / len(values))
            axes.hist(values, bins, weights=share, color=colour, alpha=0.35)  # pyright: ignore[reportArgumentType]
            look = {"color": colour, "linestyle": DASHES[n % len(DASHES)]}
            handles[label] = axes.axvline(float(values.mean()), **look)
        axes.set_title(name)
        axes.set_xlabel(x_label)
        axes.grid(axis="y")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        if i % across == 0:
            axes.set_ylabel("images of the class (%)")
    legend_below(figure, grid, [handles[label] for label in labels], labels)
    return figure
