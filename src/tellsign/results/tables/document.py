"""A table ready to be written in any format: texts in sections, and every number with all that is known about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DASH, TIMES = "–", "±"


@dataclass(frozen=True)
class Number:
    """One number of a table with all that is known about it; a row of the CSV.

    ``value``, ``sd`` (over seeds), ``sd_epochs`` and ``least_epoch`` (over the kept epochs), ``low`` and ``high`` are
    percent, a delta or difference is percentage points; NaN is nothing known. ``by_seed`` is the value of each seed.
    Of a printed number ``sd`` is what is printed after ±. ``n_real`` and ``n_fake`` are 0 where they are not known.
    """

    row: str
    column: str
    source: str
    value: float
    metric: str
    sd: float = math.nan
    sd_epochs: float = math.nan
    least_epoch: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0
    by_seed: tuple[float, ...] = ()
    run: str = ""
    benchmark: str = ""
    subset: str = ""
    perturbation: str = ""
    checkpoint: str = ""
    epochs: int = 0
    threshold_rule: str = ""
    n_real: int = 0
    n_fake: int = 0
    images_seen: float = math.nan
    recipe: str = ""
    code: str = ""
    data: str = ""
    protocol: str = ""
    printed: str = ""
    note: str = ""


@dataclass(frozen=True)
class Column:
    """The heading of a column.

    Attributes:
        group: neighbours of the same group are drawn under one heading; may be empty.
        name: its own heading.
        quoted: its cells are printed numbers, not ours.
    """

    group: str
    name: str
    quoted: bool = False

    @property
    def full_name(self) -> str:
        """Both headings in one, for formats that have one line of headings."""
        return f"{self.group}: {self.name}" if self.group else self.name


@dataclass(frozen=True)
class ColumnGroup:
    """Neighbouring columns under one heading, ``first`` to ``last`` (from 1)."""

    name: str
    first: int
    last: int

    @property
    def width(self) -> int:
        """How many columns."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class TextRow:
    """A row of texts, its label first. A row with a single cell is a heading across all columns."""

    cells: tuple[str, ...]

    @property
    def is_heading(self) -> bool:
        """Whether it is a heading across all columns."""
        return len(self.cells) == 1


@dataclass(frozen=True)
class Section:
    """One grid of a table: the first column holds the rows' labels."""

    heading: str
    columns: tuple[Column, ...]
    rows: tuple[TextRow, ...]

    @property
    def groups(self) -> list[ColumnGroup]:
        """The upper line of headings; a column without a group is one of its own, without a name."""
        groups: list[ColumnGroup] = []
        for at, column in enumerate(self.columns, 1):
            if groups and column.group and groups[-1].name == column.group:
                groups[-1] = ColumnGroup(column.group, groups[-1].first, at)
            else:
                groups.append(ColumnGroup(column.group, at, at))
        return groups

    @property
    def has_groups(self) -> bool:
        """Whether there is an upper line of headings."""
        return any(column.group for column in self.columns)


@dataclass(frozen=True)
class Document:
    """A table, ready to be written in any format."""

    paper: str
    name: str
    title: str
    caption: str
    banner: str
    sections: tuple[Section, ...]
    footnotes: tuple[str, ...]
    numbers: tuple[Number, ...]


class Marks:
    """Marks of footnotes: the same mark for the same text, in the order of their first use."""

    SIGNS = "†‡§¶‖"

    def __init__(self) -> None:
        self._sign_of: dict[str, str] = {}

    def sign(self, text: str) -> str:
        """The mark of a footnote."""
        if text not in self._sign_of:
            count = len(self._sign_of)
            self._sign_of[text] = self.SIGNS[count % len(self.SIGNS)] * (count // len(self.SIGNS) + 1)
        return self._sign_of[text]

    def footnotes(self) -> list[str]:
        """Every marked text with its mark before it."""
        return [f"{sign} {text}" for text, sign in self._sign_of.items()]


def distinct(texts: Sequence[str]) -> list[str]:
    """Each text once, in order."""
    return list(dict.fromkeys(texts))
