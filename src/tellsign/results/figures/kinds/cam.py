"""Images above their class activation maps, one row a detector."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tellsign.errors import UserError
from tellsign.results.figures.drawing import Columns, Drawing, Inputs, add, printed
from tellsign.results.figures.networks import Networks
from tellsign.results.figures.page import SMALL, WIDTH, bar_below, drawing, page
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.figures import NetworkFigure

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, UInt8
    from matplotlib.figure import Figure


class CAM(NetworkFigure):
    """Images above their class activation maps.

    Attributes:
        crop: Side of the stored crops, in pixels.
        real, fake: How many real images, and how many of each subset's generated ones.
        target: The class whose evidence is shown; ``label`` for each image's own.
        scale: Maps are shares of the greatest of the ``row``, or of each ``image``.
    """

    kind: Literal["cam"]
    crop: Positive[int]
    real: NonNegative[int] = 2
    fake: NonNegative[int] = 1
    target: Literal["real", "fake", "label"] = "real"
    scale: Literal["row", "image"] = "row"


def cam(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Class activation maps of every (detector, image)."""

    import numpy as np

    networks = Networks(spec, inputs)
    import torch

    from tellsign.evaluation.explain import as_share, class_activation

    classes = networks.classes(spec["split"], spec["subsets"], spec["real"], spec["fake"])
    chosen = [(name, image) for name, ids in classes.items() for image in ids]
    labels = torch.tensor([int(name != "real") for name, _ in chosen])
    table = networks.table(spec["split"])
    rows = table.rows_of([image for _, image in chosen])
    maps: dict[str, Float[np.ndarray, "n h w"]] = {}
    scores: dict[str, Float[np.ndarray, " n"]] = {}
    columns: Columns = {c: [] for c in ("detector", "image", "id", "score", "row", "column", "share")}
    sides = []
    for row in spec["rows"]:
        detector, side = networks.detector(row)
        sides.append(side)
        x = detector.backbone.preprocess(table.center_crops(rows, sides[-1]).to(networks.device))
        raw, score = class_activation(detector.backbone, detector.head, x, labels.to(networks.device), spec["target"])
        maps[row["label"]] = as_share(raw.cpu().numpy(), spec["scale"])
        scores[row["label"]] = score.cpu().numpy()
        for (name, image), value, grid in zip(chosen, scores[row["label"]], maps[row["label"]], strict=True):
            for (i, j), share in np.ndenumerate(grid):
                add(columns, row["label"], name, image, value, i, j, share)
    if len(set(sides)) > 1:
        raise UserError(
            f"figure {spec['name']!r}: its detectors see crops of different sides "
            f"({', '.join(map(str, sides))}), so their maps cannot stand under one row of images. "
            "Make one figure for each."
        )
    images = table.center_crops(rows, sides[0]).permute(0, 2, 3, 1).numpy()
    names = [printed(spec, name) for name, _ in chosen]
    target = {"real": "real", "fake": "fake", "label": "each image's own label"}[spec["target"]]
    scale = "row" if spec["scale"] == "row" else "image"
    caption = f"Grad-CAM: evidence for {target}, scaled by the greatest of the {scale}."
    return Drawing(functools.partial(draw, images, maps, names=names, scores=scores), columns, caption)


@drawing
def draw(
    images: UInt8[np.ndarray, "n h w 3"],
    maps: Mapping[str, Float[np.ndarray, "n h2 w2"]],
    *,
    names: Sequence[str],
    scores: Mapping[str, Float[np.ndarray, " n"]],
    title: str = "",
    note: str = "",
    banner: str = "",
) -> Figure:
    """Images above their class activation maps, one row a detector (MPFT Fig. 6, LoL Fig. A8, A9).

    At most six images stand side by side; the others follow in blocks below.

    Args:
        images: Pixels as the detector saw them.
        maps: Detector to maps in [0, 1], on the feature map's grid; laid over the image by bilinear scaling.
        names: What each image is.
        scores: Detector to p(fake) of each image, written above its map.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """
    across = min(6, len(images))
    blocks = math.ceil(len(images) / across)
    down = 1 + len(maps)
    label_room = 1.0
    side = min((WIDTH - label_room) / across, 1.6, 9.0 / (down * blocks) - 0.2)
    heights = [side + 0.2] * down * blocks + [0.5]
    figure = page(sum(heights), title, note, banner)
    widths = [label_room, *[(WIDTH - label_room) / across] * across]
    grid = figure.add_gridspec(down * blocks + 1, across + 1, width_ratios=widths, height_ratios=heights)
    said = "class activation, as a share of the greatest"
    bar_below(figure, grid, "inferno", (0, 1), said, alpha=0.6)
    for block in range(blocks):
        for row, label in enumerate(["image", *maps]):
            left = figure.add_subplot(grid[block * down + row, 0])
            left.axis("off")
            words = "\n".join(textwrap.wrap(label, 15))
            left.text(1.0, 0.5, words, ha="right", va="center", size=SMALL, transform=left.transAxes)
        for column in range(across):
            n = block * across + column
            if n >= len(images):
                continue
            for row, label in enumerate(["", *maps]):
                axes = figure.add_subplot(grid[block * down + row, 1 + column])
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                height, width = images[n].shape[:2]
                extent = (0, width, height, 0)
                if not label:
                    axes.imshow(images[n], extent=extent)
                    axes.set_title("\n".join(textwrap.wrap(names[n], 16)), size=SMALL, pad=3)
                    continue
                axes.imshow(images[n].mean(-1), extent=extent, cmap="gray", vmin=0, vmax=255)
                axes.imshow(
                    maps[label][n],
                    extent=extent,
                    cmap="inferno",
                    vmin=0,
                    vmax=1,
                    alpha=0.6,
                    interpolation="bilinear",
                )
                axes.set_title(f"p(fake) {scores[label][n]:.2f}", size=SMALL, pad=3)
    return figure
