"""Tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 10_000
"""Columns where the output is no terminal: a file or a pipe gets every row on a line of its own."""


def print_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = (), out: TextIO | None = None
) -> None:
    """Print rows under heads, folded to the terminal's width; nothing in them is markup.

    Args:
        heads: Names of the columns.
        rows: Texts, as many as heads.
        right: Heads of the columns that are set flush right.
        out: Where to; standard output without it.
    """
    stream = out or sys.stdout
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(text)) for text in row))
    Console(file=stream, width=None if stream.isatty() else WIDE, soft_wrap=False).print(table)


def printable(text: str) -> str:
    """A text without characters by which a file's name or metadata could steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
