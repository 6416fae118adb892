"""What files give away without their pixels: a number for every subset and cue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tellsign.results.figures.page import SMALL, drawing, page

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from matplotlib.figure import Figure


@drawing
def draw(
    values: Float[np.ndarray, "subsets cues"],
    *,
    subsets: Sequence[str],
    cues: Sequence[str],
    title: str = "",
    note: str = "",
) -> Figure:
    """Balanced accuracy of a classifier that sees one cue, for every subset.

    Args:
        values: In per cent; nan leaves a cell empty.
        subsets: Names of the rows.
        cues: Names of the columns.
        title: Heading.
        note: How to read it.
    """
    import numpy as np

    figure = page(0.3 * len(subsets) + 1.5, title, note, "")
    axes = figure.add_subplot()
    # below chance is chance: the colour says how much is given away
    image = axes.imshow(values, cmap="Oranges", vmin=50, vmax=100, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(cues)), cues, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(subsets)), subsets)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value > 80 else "black"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", size=SMALL, color=colour)
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.02)
    bar.set_label("balanced accuracy (%); 50 is chance")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure
