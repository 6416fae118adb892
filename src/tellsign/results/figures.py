"""Drawing: arrays in, a matplotlib figure out; and the bytes of a figure.

Equal inputs give equal bytes: a fixed style that ignores the user's matplotlibrc, a bundled font, no dates, a
fixed salt for the identifiers inside SVG. matplotlib is imported when something is drawn, never before.

Every drawing function takes ``title`` (above), ``note`` (how to read it) and ``banner`` (a warning that must
travel with the picture); note and banner stand under the plot. Sizes are inches at print: 7.2 wide, no letter
below 8 pt.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from jaxtyping import Float, UInt8

from tellsign.errors import UserError, choose, near_miss
from tellsign.evaluation.metrics import described

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

P = ParamSpec("P")

WIDTH = 7.2
"""Width of a figure in inches: the text width of a page."""

SMALL, NORMAL, LARGE = 8.0, 9.0, 10.5
"""Letter heights in points: numbers and captions, axis labels, titles."""

LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F")
"""Okabe and Ito's colours (2008), told apart with the common colour-vision deficiencies; without yellow."""

CLASSES = ("#332288", "#CC6677", "#117733", "#88CCEE", "#882255", "#999933", "#AA4499", "#DDAA33", "#44AA99")
"""Paul Tol's muted scheme (2021), for up to nine generators; real images are black."""

REAL_COLOUR = "#000000"
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


@dataclass(frozen=True)
class Curve:
    """One line of a curve: ``mean`` over seeds at each ``x``; ``sd`` is nan where there is one seed only."""

    label: str
    x: Float[np.ndarray, " n"]
    mean: Float[np.ndarray, " n"]
    sd: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class CurvePanel:
    """One set of axes with lines: what is on its axes, with units; names of the ticks at 0, 1, ..."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Curve, ...]
    ticks: tuple[str, ...] = ()


def metric_label(metric: str) -> str:
    """Axis label of a metric, with its unit."""
    record = described(metric)
    return record.axis_label if record else metric.replace("_", " ")


def metric_factor(metric: str) -> float:
    """Factor from the stored value to the drawn one (100 for fractions drawn as percent)."""
    record = described(metric)
    return record.factor if record else 1.0


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Our style and nothing of the user's, while drawing and while writing."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


def _drawing(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in our style, and settle the layout once: afterwards every file is made from the same places."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
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


def _page(height: float, title: str, note: str, banner: str, width: float = WIDTH) -> Figure:
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


def _legend(figure: Figure, grid: GridSpec, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend in the last row of the grid, in as many columns as its longest label leaves room for."""
    axes = figure.add_subplot(grid[-1, :])
    axes.axis("off")
    axes.legend(handles, labels, loc="center", ncols=_legend_columns(labels), handlelength=2.6, borderaxespad=0)


def _bar_below(
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


def _legend_columns(labels: Sequence[str]) -> int:
    widest = 0.65 + max(map(len, labels)) * SMALL * 0.58 / 72
    return max(1, min(len(labels), int((WIDTH - 0.3) / widest)))


def _legend_height(labels: Sequence[str]) -> float:
    return 0.18 * math.ceil(len(labels) / _legend_columns(labels)) + 0.08


@_drawing
def heat_map(
    panels: Mapping[str, Float[np.ndarray, "train test"]],
    *,
    train: Sequence[str],
    test: Sequence[str],
    metric: str,
    title: str = "",
    note: str = "",
    banner: str = "",
) -> Figure:
    """A number for every (trained on, tested on), one panel a method (MPFT Fig. 4, LoL Fig. 4, 5).

    Args:
        panels: Method to values in the metric's drawn unit (percent); nan leaves a cell empty.
        train: Names of the rows.
        test: Names of the columns.
        metric: Name in `METRICS`.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """
    import matplotlib

    cell = 0.34
    side = 0.1 + max(map(len, train)) * SMALL * 0.6 / 72
    across = max(1, min(len(panels), int((WIDTH - side) / (cell * len(test) + 0.1))))
    down = math.ceil(len(panels) / across)
    slant = 0.15 + max(map(len, test)) * SMALL * 0.6 / 72 * 0.75
    figure = _page(down * (cell * len(train) + 0.27) + slant + 0.62, title, note, banner)
    grid = figure.add_gridspec(down, across)
    low, high = _scale_of(np.concatenate([np.ravel(v) for v in panels.values()]))
    colours = matplotlib.colormaps["Blues"]
    drawn: list[Axes] = []
    for i, (name, values) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[i // across, i % across])
        axes.imshow(values, cmap=colours, vmin=low, vmax=high)
        axes.set_title(name)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        last = i + across >= len(panels)
        axes.set_xticks(range(len(test)), test if last else [], rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(train)), train if i % across == 0 else [])
        if i % across == 0:
            axes.set_ylabel("trained on")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = (value - low) / max(high - low, 1e-9) > 0.6
                text = f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}"
                axes.text(
                    column,
                    row,
                    text,
                    ha="center",
                    va="center",
                    size=SMALL,
                    color="white" if dark else "black",
                )
        drawn.append(axes)
    bar = figure.colorbar(drawn[-1].images[0], ax=drawn, location="bottom", shrink=0.5, aspect=40, pad=0.02)
    bar.set_label(f"{metric_label(metric)}; columns: tested on")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def _scale_of(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Colour limits: 50 (chance) or the next ten below the least value; the next ten above the greatest."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    return min(50.0, math.floor(finite.min() / 10) * 10), max(60.0, math.ceil(finite.max() / 10) * 10)


@_drawing
def ratio_curve(
    panels: Sequence[CurvePanel], *, log: bool = False, title: str = "", note: str = "", banner: str = ""
) -> Figure:
    """A metric against a setting: mask ratio, patch size, number of images (MPFT Fig. 5, 7; LoL Tables 2, 3).

    Args:
        panels: One a metric or test set; bands are ± one standard deviation over seeds.
        log: Logarithmic x axis (data volumes).
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """
    figure, all_axes = _curves(panels, title, note, banner, markers=True)
    for axes, panel in zip(all_axes, panels, strict=True):
        points = np.unique(np.concatenate([line.x for line in panel.lines]))
        if log:
            axes.set_xscale("log")
            axes.minorticks_off()
        if len(points) <= 8 and not panel.ticks:
            axes.set_xticks(points, [f"{x:,g}" for x in points])
    return figure


@_drawing
def robustness_curve(panels: Sequence[CurvePanel], *, title: str = "", note: str = "", banner: str = "") -> Figure:
    """A metric against severity, one panel a perturbation, one line a method (TIDY Fig. 3).

    Args:
        panels: ``ticks`` name the severities at x = 0, 1, ...; all panels share the y axis.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """
    return _curves(panels, title, note, banner, markers=True)[0]


@_drawing
def steps_curve(panels: Sequence[CurvePanel], *, title: str = "", note: str = "", banner: str = "") -> Figure:
    """A metric over training, one panel a test set, one line a method (MPFT Fig. 2, LoL Fig. 2).

    Args:
        panels: x is in training steps or epochs, as ``x_label`` says; bands are ± one sd over seeds.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """
    from matplotlib.ticker import MaxNLocator

    longest = max(len(line.x) for panel in panels for line in panel.lines)
    figure, all_axes = _curves(panels, title, note, banner, markers=longest <= 25)
    for axes in all_axes:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return figure


def _curves(
    panels: Sequence[CurvePanel], title: str, note: str, banner: str, *, markers: bool
) -> tuple[Figure, list[Axes]]:
    """Panels of lines with bands, up to three across, with one legend under all of them."""
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    across = 2 if len(panels) == 4 else min(3, len(panels))
    down = math.ceil(len(panels) / across)
    height = {1: 3.0, 2: 2.5, 3: 2.2}[across]
    legend = _legend_height(labels)
    figure = _page(down * height + legend, title, note, banner)
    grid = figure.add_gridspec(down + 1, across, height_ratios=[height] * down + [legend])
    all_axes: list[Axes] = []
    handles: dict[str, Any] = {}
    shared: dict[str, Axes] = {}
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(grid[i // across, i % across], sharey=shared.get(panel.y_label))
        same_as_left = i % across and panels[i - 1].y_label == panel.y_label
        shared.setdefault(panel.y_label, axes)
        for line in panel.lines:
            n = labels.index(line.label)
            colour = LINES[n % len(LINES)]
            (handles[line.label],) = axes.plot(
                line.x,
                line.mean,
                color=colour,
                linestyle=DASHES[n % len(DASHES)],
                marker=MARKERS[n % len(MARKERS)] if markers else "",
            )
            if np.isfinite(line.sd).any():
                axes.fill_between(
                    line.x, line.mean - line.sd, line.mean + line.sd, color=colour, alpha=0.15, linewidth=0
                )
        axes.set_title(panel.title)
        axes.set_xlabel(panel.x_label)
        axes.grid(axis="y")
        if same_as_left:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(panel.y_label)
        if panel.ticks:
            axes.set_xticks(range(len(panel.ticks)), panel.ticks)
            axes.set_xlim(-0.25, len(panel.ticks) - 0.75)
        all_axes.append(axes)
    _legend(figure, grid, [handles[label] for label in labels], labels)
    return figure, all_axes


@_drawing
def bars(
    values: Float[np.ndarray, "series group"],
    errors: Float[np.ndarray, "series group"],
    *,
    series: Sequence[str],
    groups: Sequence[str],
    metric: str,
    title: str = "",
    note: str = "",
    banner: str = "",
) -> Figure:
    """Bars: one group a test set, one bar a variant, whiskers ± one sd over seeds (TIDY Fig. 4 to 8).

    Args:
        values: In the metric's drawn unit (percent); nan draws no bar.
        errors: Standard deviation over seeds, in the same unit; nan draws no whisker.
        series: Names of the variants.
        groups: Names of the test sets.
        metric: Name in `METRICS`.
        title: Heading.
        note: How to read it.
        banner: Warning under the plot.
    """
    per_row = len(groups) if len(groups) * len(series) <= 45 else math.ceil(len(groups) / 2)
    down = math.ceil(len(groups) / per_row)
    slant = max(map(len, groups)) * SMALL * 0.6 / 72 > WIDTH / per_row - 0.25
    height = 2.5 + (0.55 if slant else 0.0)
    legend = _legend_height(series)
    figure = _page(down * height + legend, title, note, banner)
    grid = figure.add_gridspec(down + 1, 1, height_ratios=[height] * down + [legend])
    width = 0.84 / len(series)
    top = float(np.nanmax(values + np.nan_to_num(errors), initial=0.0))
    handles: list[Any] = []
    for part in range(down):
        axes = figure.add_subplot(grid[part, 0])
        here = slice(part * per_row, (part + 1) * per_row)
        x = np.arange(len(groups[here]), dtype=float)
        handles = []
        for n in range(len(series)):
            at = x + (n - (len(series) - 1) / 2) * width
            heights, spread = values[n, here], np.nan_to_num(errors[n, here])
            handles.append(axes.bar(at, heights, width * 0.92, color=LINES[n % len(LINES)], linewidth=0))
            seen = np.isfinite(errors[n, here]) & np.isfinite(heights)
            axes.errorbar(
                at[seen],
                heights[seen],
                spread[seen],
                fmt="none",
                ecolor="#222222",
                elinewidth=0.9,
                capsize=1.5,
            )
            for place, value, whisker in zip(at, heights, spread, strict=True):
                if np.isfinite(value):
                    axes.text(
                        place,
                        value + whisker + top * 0.015,
                        f"{value:.1f}",
                        rotation=90,
                        ha="center",
                        va="bottom",
                        size=SMALL,
                    )
        axes.set_ylim(0, top * 1.2 or 1.0)
        axes.set_xlim(-0.55, per_row - 0.45)
        axes.set_ylabel(metric_label(metric))
        axes.grid(axis="y")
        axes.tick_params(axis="x", length=0)
        if slant:
            axes.set_xticks(x, groups[here], rotation=30, ha="right", rotation_mode="anchor")
        else:
            axes.set_xticks(x, groups[here])
    _legend(figure, grid, handles, series)
    return figure


@_drawing
def distributions(
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
    from matplotlib.ticker import MaxNLocator

    labels = list(dict.fromkeys(name for classes in panels.values() for name in classes))
    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    legend = _legend_height(labels)
    figure = _page(down * 2.3 + legend, title, note, banner)
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
    _legend(figure, grid, [handles[label] for label in labels], labels)
    return figure


@_drawing
def scatter(
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
    legend = _legend_height(labels)
    figure = _page(down * (side + 0.15) + legend, title, note, banner)
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
    _legend(figure, grid, handles, labels)
    return figure


@_drawing
def cam_grid(
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
    figure = _page(sum(heights), title, note, banner)
    widths = [label_room, *[(WIDTH - label_room) / across] * across]
    grid = figure.add_gridspec(down * blocks + 1, across + 1, width_ratios=widths, height_ratios=heights)
    said = "class activation, as a share of the greatest"
    _bar_below(figure, grid, "inferno", (0, 1), said, alpha=0.6)
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


@_drawing
def similarity_map(
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
    across = 2 if len(panels) == 4 else min(3, len(panels))
    down = math.ceil(len(panels) / across)
    side = min((WIDTH - 0.6) / across - 0.1, 2.6)
    side = side if down < 3 else 1.9
    figure = _page(down * (side + 1.15) + 0.5, title, note, banner)
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
    _bar_below(figure, grid, "cividis", (low, high), "mean cosine similarity")
    return figure


FIGURES: dict[str, Callable[..., Figure]] = {
    "heat_map": heat_map,
    "ratio_curve": ratio_curve,
    "robustness_curve": robustness_curve,
    "steps_curve": steps_curve,
    "bars": bars,
    "training_bars": bars,
    "image_text_similarity": distributions,
    "tsne": scatter,
    "cam": cam_grid,
    "similarity_map": similarity_map,
}
"""Kinds of figure, by the name a paper file uses."""


def png_bytes(figure: Figure, dpi: int = 200) -> bytes:
    """The figure as PNG, without a date."""
    buffer = io.BytesIO()
    with _style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Title": figure.get_label()})
    return buffer.getvalue()


def svg_bytes(figure: Figure) -> bytes:
    """The figure as SVG, without a date; letters are outlines, so that it looks the same everywhere."""
    buffer = io.BytesIO()
    with _style():
        figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Title": figure.get_label()})
    return buffer.getvalue()


def csv_text(columns: Mapping[str, Sequence[Any]]) -> str:
    """The data behind a figure as CSV: a header, then one line a row; numbers to ten digits, nan as nothing.

    Raises:
        ValueError: the columns differ in length.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return buffer.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else f"{float(value):.10g}"
    return str(value)


COMMON: dict[str, Any] = {
    "title": "",
    "note": "",
    "names": {},
    "banner": "",
    "comparable": False,
    "recipes": {},
    "networks": False,
    "encoders": [],
}
"""Keys that every figure may have, with their defaults."""

CELL: dict[str, Any] = {"benchmark": None, "perturbation": "none", "checkpoint": "last"}
"""Which of a run's metrics are drawn (null: any); a panel and then a row may say otherwise."""

METRIC_KINDS: dict[str, dict[str, Any]] = {
    "heat_map": CELL | {"rows": ..., "metric": "accuracy", "subsets": [], "mean": True},
    "ratio_curve": CELL
    | {
        "rows": ...,
        "x_label": ...,
        "panels": [{}],
        "metric": "accuracy",
        "subset": "mean",
        "log": False,
        "spread": "seeds",
    },
    "robustness_curve": CELL | {"rows": ..., "panels": ..., "metric": "ap_fake", "subset": "mean"},
    "steps_curve": CELL | {"rows": ..., "panels": [{}], "metric": "accuracy", "subset": "mean", "axis": "epoch"},
    "bars": CELL | {"rows": ..., "metric": "ap_fake", "subsets": [], "mean": True},
    "training_bars": CELL
    | {
        "rows": ...,
        "metric": ["accuracy", "ap_fake"],
        "subset": "mean",
        "checkpoint": "mean",
        "spread": "epochs",
    },
}
"""Kinds made from metrics alone: their keys with defaults; ``...`` marks a key that must be given."""

NETWORK_KINDS: dict[str, dict[str, Any]] = {
    "tsne": {"rows": ..., "split": ..., "crop": 0, "subsets": [], "per_class": 50, "seed": 0},
    "image_text_similarity": {"rows": ..., "split": ..., "subsets": [], "per_class": 50},
    "cam": {
        "rows": ...,
        "split": ...,
        "crop": ...,
        "subsets": [],
        "real": 2,
        "fake": 1,
        "target": "real",
        "scale": "row",
    },
    "similarity_map": {
        "network": ...,
        "split": ...,
        "crop": 256,
        "subsets": [],
        "images": 16,
        "patch": 128,
        "patches": 128,
    },
}
"""Kinds made from networks and images, likewise."""


PARTS: dict[str, tuple[str, ...]] = {
    "panels": ("title", "x_label", "severities", "metric", "subset", *CELL),
    "rows": ("label", "run", "grid", "field", "panel", "train", "x", "encoder", "rescale", "subsets", "split", *CELL),
}
"""Keys of the mappings inside a figure's lists."""


def complete_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A figure's entry of a paper file with every default filled in.

    Needs neither matplotlib nor torch, so that a plan can check its figures before anything runs. A complete
    specification is completed to itself.

    Raises:
        UserError: unknown kind, unknown key (with the near miss) or missing key.
    """
    kind = str(spec.get("kind", ""))
    where = f"figure {spec.get('name', '')!r}"
    own = COMMON | choose(METRIC_KINDS | NETWORK_KINDS, kind, f"kind of {where}")
    where += f" ({kind})"
    _refuse_unknown(spec, ("kind", "paper", "name", *own), where)
    missing = [key for key, value in own.items() if value is ... and key not in spec]
    if missing:
        raise UserError(f"{where}: key {missing[0]!r} is missing.")
    for part, known in PARTS.items():
        for entry in spec.get(part, ()):
            _refuse_unknown(entry, known, f"{part} of {where}")
    if spec.get("spread", "seeds") not in ("seeds", "epochs"):
        raise UserError(f"{where}: spread is {spec['spread']!r}. Known: seeds, epochs.")
    complete = {"paper": "", "name": "", **own, **spec}
    if "panels" in complete:
        complete["panels"] = [_in_order(panel) for panel in complete["panels"]]
    return complete


def _in_order(panel: Mapping[str, Any]) -> dict[str, Any]:
    """A panel with its severities as (tick, test set) pairs: JSON may lose the order of a mapping."""
    severities = panel.get("severities", {})
    pairs = severities.items() if isinstance(severities, Mapping) else severities
    return {**panel, "severities": [[str(tick), str(name)] for tick, name in pairs]}


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            listed = ", ".join(sorted(known))
            raise UserError(f"{where}: unknown key {key!r}.{near_miss(key, known)} Known: {listed}.")
