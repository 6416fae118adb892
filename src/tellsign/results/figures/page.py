"""Pages: the style of all figures, room for title, note and banner, legends, colour bars.

A fixed style that ignores the user's matplotlibrc, and a bundled font. Sizes are inches at print: 7.2 wide, no letter
below 8 pt. matplotlib is imported when something is drawn, never before.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

from tellsign.evaluation.metrics import described

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

P = ParamSpec("P")

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""

SMALL, NORMAL, LARGE = 8.0, 9.0, 10.5
"""Letter heights in points: numbers and captions, axis labels, titles."""

LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F")
"""Okabe and Ito's colours (2008), told apart with the common colour-vision deficiencies; without yellow."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")

DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), "-", "--")

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": NORMAL,
    "axes.titlesize": NORMAL,
    "axes.labelsize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "tellsign",
    "image.interpolation": "nearest",
}


def metric_label(metric: str) -> str:
    """Axis label of a metric, with its unit."""
    record = described(metric)
    return record.axis_label if record else metric.replace("_", " ")


def metric_factor(metric: str) -> float:
    """Factor from the stored value to the drawn one (100 for fractions drawn as percent)."""
    record = described(metric)
    return record.factor if record else 1.0


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Our style and nothing of the user's, while drawing and while writing."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


def drawing(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in our style, and settle the layout once: afterwards every file is made from the same places."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        return figure

    return styled


def _wrapped(text: str, points: float, weight: str, width: float) -> list[str]:
    """Lines of a text that fit ``width`` inches; a single longer word stands alone."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font, ruler = FontProperties(family="DejaVu Sans", size=points, weight=weight), TextToPath()

    def inches(words: str) -> float:
        return ruler.get_text_width_height_descent(words, font, ismath=False)[0] / 72

    lines: list[str] = []
    for part in text.splitlines():
        line = ""
        for word in part.split():
            longer = f"{line} {word}".strip()
            if line and inches(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return [line for line in lines if line]


def page(height: float, title: str, note: str, banner: str, width: float = WIDTH) -> Figure:
    """An empty figure whose plots take ``height`` inches; title, note and banner get room of their own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    above = _wrapped(title, LARGE, "bold", width - 0.25)
    below = [(line, False) for line in _wrapped(note, SMALL, "normal", width - 0.25)]
    below += [(line, True) for line in _wrapped(banner, SMALL, "bold", width - 0.25)]
    head = 0.21 * len(above) + (0.08 if above else 0.0)
    foot = 0.16 * len(below) + (0.10 if below else 0.0)
    total = height + head + foot
    engine = ConstrainedLayoutEngine(
        rect=(0.0, foot / total, 1.0, height / total), w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.03
    )
    figure = Figure(figsize=(width, total), layout=engine)
    FigureCanvasAgg(figure)
    for i, line in enumerate(above):
        y = 1 - (0.06 + 0.21 * i) / total
        figure.text(0.1 / width, y, line, size=LARGE, weight="bold", va="top", ha="left", in_layout=False)
    for i, (line, loud) in enumerate(below):
        y = (foot - 0.04 - 0.16 * i) / total
        colour, weight = ("#9A1B1B", "bold") if loud else ("#333333", "normal")
        figure.text(
            0.1 / width,
            y,
            line,
            size=SMALL,
            color=colour,
            weight=weight,
            va="top",
            ha="left",
            in_layout=False,
        )
    figure.set_label("\n".join(filter(None, (title, note, banner))))
    return figure


def legend_below(figure: Figure, grid: GridSpec, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend in the last row of the grid, in as many columns as its longest label leaves room for."""
    axes = figure.add_subplot(grid[-1, :])
    axes.axis("off")
    axes.legend(handles, labels, loc="center", ncols=legend_columns(labels), handlelength=2.6, borderaxespad=0)


def bar_below(
    figure: Figure, grid: GridSpec, colours: str, limits: tuple[float, float], label: str, alpha: float = 1.0
) -> None:
    """A colour bar in the last row of the grid."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    room = figure.add_subplot(grid[-1, :])
    room.axis("off")
    place = room.inset_axes((0.25, 0.75, 0.5, 0.25))
    scale = ScalarMappable(Normalize(*limits), colours)
    bar = figure.colorbar(scale, cax=place, orientation="horizontal", alpha=alpha)
    bar.set_label(label)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def legend_columns(labels: Sequence[str]) -> int:
    """How many labels stand side by side."""
    widest = 0.65 + max(map(len, labels)) * SMALL * 0.58 / 72
    return max(1, min(len(labels), int((WIDTH - 0.3) / widest)))


def legend_height(labels: Sequence[str]) -> float:
    """Inches that a legend takes."""
    return 0.18 * math.ceil(len(labels) / legend_columns(labels)) + 0.08
