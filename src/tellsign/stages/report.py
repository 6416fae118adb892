"""Put every table and figure on one page.

Reads:
  --tables   folders of table: table.json is what is shown, table.csv names the digests under it
  --figures  folders of figure: figure.svg (figure.png where the SVG is large) and figure.json, its words

The folders are named PAPER/NAME.FINGERPRINT. Settings: name (of the configuration), banner, papers {key:
title}, in the order of the page.

Writes the HTML file --out. It needs no other file and no network; equal inputs give equal bytes.
"""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path

from tellsign.errors import UserError, near_miss
from tellsign.results.report import FigureOnPage, PaperOnPage, TableOnPage, render
from tellsign.results.tables.document import distinct
from tellsign.results.tables.writers import document_from_json
from tellsign.system.files import write_text

LARGEST_SVG = 400_000
"""Bytes; above it (many points, many pixels) the PNG is the smaller and quicker picture."""

DIGESTS = ("recipe", "code", "data")
"""Columns of table.csv that say what a number was made from."""


def main(*, settings: dict, tables: list[Path], figures: list[Path], out: Path) -> None:
    """Write the page; see the module's text.

    Raises:
        UserError: a folder of a paper that the settings do not name, or one without its file.
    """
    titles = settings["papers"]
    for folder in (*tables, *figures):
        paper = folder.parent.name
        if paper not in titles:
            raise UserError(
                f"{folder} belongs to paper {paper!r}, which the report does not name."
                f"{near_miss(paper, titles)} It names: {', '.join(titles)}."
            )
    papers = [
        PaperOnPage(
            paper,
            title,
            [table_on_page(folder) for folder in tables if folder.parent.name == paper],
            [figure_on_page(folder) for folder in figures if folder.parent.name == paper],
        )
        for paper, title in titles.items()
    ]
    write_text(out, render(settings["name"], settings["banner"], papers))


def name_of(folder: Path) -> str:
    """A table's or figure's name: its folder's without the fingerprint."""
    return folder.name.rpartition(".")[0] or folder.name


def anchor(kind: str, folder: Path) -> str:
    """Identifier of a table or figure on the page."""
    return f"{kind}-{folder.parent.name}-{name_of(folder)}"


def read(path: Path) -> str:
    """A text file.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}; remove the folder and make it again.")
    return path.read_text(encoding="utf-8")


def table_on_page(folder: Path) -> TableOnPage:
    """A table with what its numbers were made from."""
    document = document_from_json(read(folder / "table.json"))
    rows = list(csv.DictReader(read(folder / "table.csv").splitlines()))
    digests = {kind: distinct([row[kind] for row in rows if row.get(kind)]) for kind in DIGESTS}
    return TableOnPage(
        artifact=folder.name,
        anchor=anchor("table", folder),
        title=document.title or name_of(folder),
        document=document,
        digests=[(kind, ", ".join(names)) for kind, names in digests.items() if names],
    )


def figure_on_page(folder: Path) -> FigureOnPage:
    """A figure as a picture within the page, with its words: title, note, banner."""
    svg = read(folder / "figure.svg").encode()
    words = json.loads(read(folder / "figure.json"))
    if len(svg) <= LARGEST_SVG:
        kind, data = "svg+xml", svg
    else:
        kind, data = "png", (folder / "figure.png").read_bytes()
    return FigureOnPage(
        artifact=folder.name,
        anchor=anchor("figure", folder),
        title=" ".join(words["title"].split()) or name_of(folder),
        words=" ".join(" ".join(words.values()).split()) or name_of(folder),
        source=f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
    )
