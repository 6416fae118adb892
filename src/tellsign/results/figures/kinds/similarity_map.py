"""Similarity of patches along the diagonal, and its mean at each offset, one panel a class."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from tellsign.errors import UserError
from tellsign.results.figures.drawing import Columns, Drawing, Inputs, add, printed
from tellsign.results.figures.networks import BATCH, Networks
from tellsign.results.figures.page import LINES, WIDTH, bar_below, drawing, page
from tellsign.schema.fields import Positive
from tellsign.schema.figures import CroppedFigure, NetworkSource

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float
    from matplotlib.figure import Figure
    from torch import Tensor

    from tellsign.networks.backbones.backbone import Backbone


class SimilarityMap(CroppedFigure):
    """Similarity of neighbouring patches.

    Attributes:
        network: Whose features are compared.
        crop: Side of the crops, in pixels.
        images: Images of each class.
        patch: Side of a patch, in pixels.
        patches: Patches along the diagonal, with stride 1.
    """

    kind: Literal["similarity_map"]
    network: NetworkSource
    crop: Positive[int] = 256
    images: Positive[int] = 16
    patch: Positive[int] = 128
    patches: Positive[int] = 128


def similarity_map(spec: Mapping[str, Any], inputs: Inputs) -> Drawing:
    """Mean similarity matrices of patches along the diagonal, one a class."""
    networks = Networks(spec, inputs)
    from tellsign.evaluation.explain import offset_means

    patch, patches = spec["patch"], spec["patches"]
    if spec["crop"] < patch + patches - 1:
        raise UserError(
            f"figure {spec['name']!r}: {patches} patches of {patch} pixels with stride 1 need a crop of "
            f"{patch + patches - 1} pixels; crop is {spec['crop']}."
        )
    backbone, _ = networks.backbone(spec["network"])
    panels: dict[str, Float[np.ndarray, "n n"]] = {}
    offsets: dict[str, Float[np.ndarray, " n"]] = {}
    columns: Columns = {c: [] for c in ("class", "patch", *(f"with_{i}" for i in range(patches)))}
    for name, ids in networks.classes(spec["split"], spec["subsets"], *[spec["images"]] * 2).items():
        crops = itertools.chain.from_iterable(networks.crops(spec["split"], ids, spec["crop"]))
        matrix = mean_similarity(backbone, crops, patch, patches, networks.device)
        panels[printed(spec, name)] = matrix
        offsets[printed(spec, name)] = offset_means(matrix)
        for i, line in enumerate(matrix):
            add(columns, name, i, *(f"{value:.5f}" for value in line))
    stride = stride_of(backbone, patch, networks.device)
    caption = (
        f"{patches} patches of {patch} × {patch} px, stride 1 px; mean of {spec['images']} images a class. "
        f"{networks.how_cropped()}"
        f"The encoder itself subsamples by {stride} px in all: peaks at that period or a divisor of it, "
        "seen in every class, are its own."
    )
    return Drawing(functools.partial(draw, panels, offsets), columns, caption)


def stride_of(backbone: Backbone, patch: int, device: torch.device) -> int:
    """Pixels from one place of a backbone's last map to the next; features repeat with this period anyway."""
    import torch

    with torch.no_grad():
        x = backbone.preprocess(torch.zeros(1, 3, patch, patch, dtype=torch.uint8, device=device))
        return round(patch / backbone.feature_map(x).shape[-1])


def mean_similarity(
    backbone: Backbone, crops: Iterable[Tensor], patch: int, patches: int, device: torch.device
) -> Float[np.ndarray, "n n"]:
    """Cosine similarity of the patches at (0, 0), (1, 1), ... of each crop; the mean over crops."""
    import torch

    from tellsign.evaluation.explain import cosine_similarity
    from tellsign.methods.lattice import diagonal_patches

    matrices = []
    with torch.no_grad():
        for crop in crops:
            cut = diagonal_patches(crop, patch_size=patch, count=patches)
            vectors = [backbone(backbone.preprocess(part.to(device))).float() for part in cut.split(BATCH)]
            matrices.append(cosine_similarity(torch.cat(vectors)).cpu())
    return torch.stack(matrices).double().mean(0).numpy()


@drawing
def draw(
    panels: Mapping[str, Float[np.ndarray, "n n"]],
    offsets: Mapping[str, Float[np.ndarray, " n"]],
    *,
    title: str = "",
    note: str = "",
    banner: str = "",
) -> Figure:
    """Similarity of patches along the diagonal, and below each map its mean at each offset (rescale Fig. 5).

    Bands parallel to the diagonal, seen as peaks of the line, say that features repeat with that period.

    Args:
        panels: Class (real, each generator) to the mean similarity matrix.
        offsets: Class to the mean of each diagonal; offset 0 (always 1) is not drawn.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """

    import numpy as np

    across = 2 if len(panels) == 4 else min(3, len(panels))
    down = math.ceil(len(panels) / across)
    side = min((WIDTH - 0.6) / across - 0.1, 2.6)
    side = side if down < 3 else 1.9
    figure = page(down * (side + 1.15) + 0.5, title, note, banner)
    heights = [side + 0.2, 0.95] * down + [0.5]
    grid = figure.add_gridspec(down * 2 + 1, across, height_ratios=heights)
    apart = np.concatenate([m[~np.eye(len(m), dtype=bool)] for m in panels.values()])
    low, high = float(apart.min()), float(np.quantile(apart, 0.99))
    ends = np.concatenate([line[1:] for line in offsets.values()])
    room = 0.06 * max(float(ends.max() - ends.min()), 1e-6)
    for i, (name, matrix) in enumerate(panels.items()):
        row, column = 2 * (i // across), i % across
        axes = figure.add_subplot(grid[row, column])
        axes.imshow(matrix, cmap="cividis", vmin=low, vmax=high)
        axes.set_title(name)
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
        below = figure.add_subplot(grid[row + 1, column])
        line = offsets[name]
        below.plot(np.arange(1, len(line)), line[1:], color=LINES[0], linewidth=1.0)
        below.set_ylim(float(ends.min()) - room, float(ends.max()) + room)
        below.set_xlim(0, len(line) - 1)
        below.grid(axis="both")
        below.set_xlabel("offset (px)")
        if column == 0:
            axes.set_ylabel("patch (px along\nthe diagonal)")
            below.set_ylabel("mean\nsimilarity")
        else:
            axes.set_yticks([])
            below.tick_params(labelleft=False)
    bar_below(figure, grid, "cividis", (low, high), "mean cosine similarity")
    return figure
