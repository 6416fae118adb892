"""Put every table and figure on one page.

Reads:
  --tables   folders of table: table.html goes onto the page, table.csv names the digests under it
  --figures  folders of figure: figure.svg (figure.png where the SVG is large)

The folders are named PAPER/NAME.FINGERPRINT. Settings: name (of the configuration), banner, papers {key:
title}, in the order of the page.

Writes the HTML file --out. It needs no other file and no network; equal inputs give equal bytes.
"""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Iterable, Sequence
from html import escape, unescape
from pathlib import Path

from tellsign.errors import UserError, near_miss
from tellsign.system.files import write_text

LARGEST_SVG = 400_000
"""Bytes; above it (many points, many pixels) the PNG is the smaller and quicker picture."""

DIGESTS = ("recipe", "code", "data")
"""Columns of table.csv that say what a number was made from."""

STYLE = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #555; --rule: #ddd; --warn: #9a1b1b; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--rule); }
h3 { margin-bottom: .4rem; overflow-wrap: anywhere; }
nav ul { padding-left: 1.2rem; } nav > ul > li { margin-top: .5rem; }
.banner { border-left: .3rem solid var(--warn); padding: .4rem .8rem; color: var(--warn); font-weight: 600;
  background: #fdf3f3; }
.wide, .scroll { overflow-x: auto; }
.wide > img { display: block; width: 100%; min-width: 30rem; max-width: 46rem; height: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap;
  font-weight: 400; }
th:first-child, td:first-child, tr.group th { text-align: left; } tr.group th { font-style: italic; }
thead tr:last-child th { border-bottom: 2px solid var(--ink); } thead th[colspan] { text-align: center; }
.quoted { color: var(--soft); font-style: italic; } ul { font-size: .85rem; }
details { margin: .4rem 0; color: var(--soft); font-size: .8rem; } code { overflow-wrap: anywhere; }
figure { margin: 0; } h4 { margin: 1rem 0 .3rem; }
@media print { body { max-width: none; } section { break-inside: avoid; } details { display: none; } }
"""


def main(*, settings: dict, tables: list[Path], figures: list[Path], out: Path) -> None:
    """Write the page; see the module's text.

    Raises:
        UserError: a folder of a paper that the settings do not name, or one without its file.
    """
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(settings['name'])}: tables and figures</title>",
        f"<style>{STYLE}</style></head><body>",
        f"<h1>{escape(settings['name'])}: tables and figures</h1>",
    ]
    if settings["banner"]:
        parts.append(f'<p class="banner">{escape(settings["banner"])}</p>')
    by_paper = {paper: ([], []) for paper in settings["papers"]}
    for place, folders in enumerate((tables, figures)):
        for folder in folders:
            paper = folder.parent.name
            if paper not in by_paper:
                raise UserError(
                    f"{folder} belongs to paper {paper!r}, which the report does not name."
                    f"{near_miss(paper, by_paper)} It names: {', '.join(by_paper)}."
                )
            by_paper[paper][place].append(folder)
    held = {paper: lists for paper, lists in by_paper.items() if any(lists)}
    parts.append(contents(settings["papers"], held))
    for paper, (own_tables, own_figures) in held.items():
        parts.append(f'<h2 id="{escape(paper)}">{escape(settings["papers"][paper])}</h2>')
        parts += [table_section(folder) for folder in own_tables]
        parts += [figure_section(folder) for folder in own_figures]
    parts.append("</body></html>")
    write_text(out, "\n".join(parts) + "\n")


def name_of(folder: Path) -> str:
    """A table's or figure's name: its folder's without the fingerprint."""
    return folder.name.rpartition(".")[0] or folder.name


def anchor(kind: str, folder: Path) -> str:
    """Identifier of a table or figure on the page."""
    return f"{kind}-{folder.parent.name}-{name_of(folder)}"


def contents(titles: dict[str, str], held: dict[str, tuple[list[Path], list[Path]]]) -> str:
    """The list of everything on the page."""

    def item(kind: str, folder: Path) -> str:
        title = escape(title_of(kind, folder))
        return f'<li><a href="#{escape(anchor(kind, folder))}">{title}</a> ({kind})</li>'

    lines = ['<nav aria-label="Contents"><ul>']
    for paper, (tables, figures) in held.items():
        lines.append(f'<li><a href="#{escape(paper)}">{escape(titles[paper])}</a><ul>')
        lines += [item("table", folder) for folder in tables]
        lines += [item("figure", folder) for folder in figures]
        lines.append("</ul></li>")
    return "\n".join([*lines, "</ul></nav>"])


def title_of(kind: str, folder: Path) -> str:
    """The title that the table or figure carries itself, or else its name."""
    if kind == "table":
        found = re.search(r"<h1[^>]*>(.*?)</h1>", read(folder / "table.html"), re.DOTALL)
        text = found[1] if found else ""
    else:
        text = said_by(folder).partition("\n")[0]
    return " ".join(unescape(text).split()) or name_of(folder)


def said_by(folder: Path) -> str:
    """All words of a figure (title, note, banner), which its SVG holds as metadata."""
    found = re.search(r"<dc:title>(.*?)</dc:title>", read(folder / "figure.svg"), re.DOTALL)
    return unescape(found[1]) if found else ""


def read(path: Path) -> str:
    """A text file.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}; remove the folder and make it again.")
    return path.read_text(encoding="utf-8")


def heading(kind: str, folder: Path) -> str:
    """The beginning of a table's or figure's section."""
    title = escape(title_of(kind, folder))
    return f'<section id="{escape(anchor(kind, folder))}"><h3>{title}</h3>'


def table_section(folder: Path) -> str:
    """A table with what its numbers were made from."""
    return "\n".join(
        [
            heading("table", folder),
            body_of(read(folder / "table.html")),
            provenance_of(folder),
            "</section>",
        ]
    )


def body_of(page: str) -> str:
    """What table.html shows under its title, its headings two levels down; not its frame and style."""
    found = re.search(r"<body[^>]*>(.*)</body>", page, re.DOTALL)
    body = re.sub(r"<(h1|style)\b.*?</\1>", "", found[1] if found else page, flags=re.DOTALL)
    return re.sub(r"(</?)h2\b", r"\1h4", body).strip()


def provenance_of(folder: Path) -> str:
    """The digests that the rows of table.csv carry, and the artifact's own name, folded away."""
    rows = list(csv.DictReader(read(folder / "table.csv").splitlines()))
    lines = [f"<li>artifact <code>{escape(folder.name)}</code></li>"]
    for column in DIGESTS:
        values = distinct(row.get(column) or "" for row in rows)
        if values:
            lines.append(f"<li>{column} <code>{escape(', '.join(values))}</code></li>")
    return f"<details><summary>made from</summary><ul>{''.join(lines)}</ul></details>"


def distinct(values: Iterable[str]) -> Sequence[str]:
    """Non-empty values, once each, in order."""
    return list(dict.fromkeys(value for value in values if value))


def figure_section(folder: Path) -> str:
    """A figure as a picture within the page; its words are the alternative text."""
    svg = read(folder / "figure.svg").encode()
    if len(svg) <= LARGEST_SVG:
        kind, data = "svg+xml", svg
    else:
        kind, data = "png", (folder / "figure.png").read_bytes()
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    words = " ".join((said_by(folder) or name_of(folder)).split())
    return "\n".join(
        [
            heading("figure", folder),
            f'<figure class="wide"><img alt="{escape(words)}" src="{source}"></figure>',
            f"<details><summary>made from</summary>artifact <code>{escape(folder.name)}</code></details>",
            "</section>",
        ]
    )
