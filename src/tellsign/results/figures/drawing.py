"""What a kind of figure is given and what it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellsign.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Columns = dict[str, list[Any]]
"""The data behind a figure: a row of its CSV at each place of the lists."""


@dataclass(frozen=True)
class Inputs:
    """Files that a figure may be made from.

    Attributes:
        metrics: Of evaluate (Parquet).
        checkpoints: Run → folder of train.
        encoders: Name → folder of pretrain.
        features: Run@split → folder of embed.
        splits: Split → file that says what each image is.
        crops: Split → folder of its images' pixels.
        device: Where networks run.
    """

    metrics: Sequence[Path] = ()
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    encoders: Mapping[str, Path] = field(default_factory=dict)
    features: Mapping[str, Path] = field(default_factory=dict)
    splits: Mapping[str, Path] = field(default_factory=dict)
    crops: Mapping[str, Path] = field(default_factory=dict)
    device: str = "auto"


@dataclass(frozen=True)
class Drawing:
    """A figure whose data are computed.

    Attributes:
        draw: Draws it, given ``title`` (above), ``note`` (how to read it) and ``banner`` (a warning that must travel
            with the picture); note and banner stand under the plot.
        columns: The data behind it.
        caption: What the note must say about them.
    """

    draw: Callable[..., Figure]
    columns: Columns
    caption: str


def add(columns: Columns, *values: Any) -> None:
    """Append one row."""
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)


def printed(spec: Mapping[str, Any], name: str) -> str:
    """A subset's name as printed."""
    return str(spec["names"].get(name, name))


def expanded(spec: Mapping[str, Any], row: Mapping[str, Any], key: str) -> Iterator[tuple[Any, str]]:
    """The (value, run) pairs of a row: its ``key`` and ``run``, or each run of a grid with its ``field``.

    Raises:
        UserError: the row names neither, or the recipe has no such field.
    """
    if "run" in row:
        if key not in row:
            raise UserError(f"figure {spec['name']!r}: the row of run {row['run']} needs {key!r}.")
        yield row[key], row["run"]
        return
    if "grid" not in row or "field" not in row:
        raise UserError(
            f"figure {spec['name']!r}: a row needs 'run' and {key!r}, or 'grid' and 'field'; it has: {', '.join(row)}."
        )
    for run, recipe in spec["recipes"].items():
        if run.startswith(f"{row['grid']}-"):
            yield field_of(recipe, row["field"], run), run


def field_of(recipe: Mapping[str, Any], dotted: str, run: str) -> Any:
    """A field of a recipe by its dotted name.

    Raises:
        UserError: there is none.
    """
    value: Any = recipe
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = ", ".join(value) if isinstance(value, Mapping) else "nothing below"
            raise UserError(f"the recipe of run {run} has no field {dotted!r}: at {part!r} it has {known}.")
        value = value[part]
    return value


def as_number(value: Any, where: str) -> float:
    """A place on an axis: a number, or the middle of a range.

    Raises:
        UserError: neither.
    """
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return (as_number(value[0], where) + as_number(value[1], where)) / 2
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{where}: {value!r} is no number and no range, so it has no place on the axis.")
    return float(value)


def as_label(value: Any) -> str:
    """A recipe's value as words: a list of subsets is joined."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def short_name(run: str) -> str:
    """A run's name without its paper."""
    return run.rpartition("/")[2]
