"""Writers of a table's files. Equal documents give equal text; Markdown, LaTeX and HTML are Jinja2 templates."""

from __future__ import annotations

import csv
import functools
import html
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import jinja2

from tellsign.results.tables.document import Column, Document, Number, Section, TextRow

TEMPLATES = Path(__file__).parent / "templates"

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "±": r"$\pm$", "−": "$-$", "–": "--", "×": r"$\times$", "†": r"$^\dagger$",
    "‡": r"$^\ddagger$", "§": r"$^\S$", "¶": r"$^\P$", "‖": r"$^\|$", "σ": r"$\sigma$", "≤": r"$\leq$",
    "≥": r"$\geq$",
}  # fmt: skip
"""Characters that LaTeX must be told about."""


def escape_latex(text: str) -> str:
    """Text that LaTeX sets as it reads."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it reads."""
    return re.sub(r"([|\\`*_<>])", r"\\\1", text)


ESCAPES: dict[str, Callable[[str], str]] = {"md": escape_markdown, "tex": escape_latex, "html": html.escape}
"""Format to what every value in its template goes through."""

LATEX_DELIMITERS: dict[str, Any] = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}
"""LaTeX has braces and percent signs of its own."""


@functools.cache
def environment(ending: str, *folders: Path) -> jinja2.Environment:
    """Templates of one format. Every value is escaped; what a template itself says is not.

    Args:
        ending: the format, a key of :data:`ESCAPES`.
        folders: where the templates are; none for those of tables.
    """
    escape = ESCAPES[ending]
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders or [TEMPLATES]),
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: escape(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(LATEX_DELIMITERS if ending == "tex" else {}),
    )


def as_csv(document: Document) -> str:
    """Every number in long form, with the digests of what made it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [field.name for field in fields(Number)]
    writer.writerow(["paper", "table", *names, "banner"])
    for number in document.numbers:
        values = [_plain(getattr(number, name)) for name in names]
        writer.writerow([document.paper, document.name, *values, document.banner])
    return out.getvalue()


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(_plain(part) for part in value)
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return "" if value == 0 else str(value)


def as_json(document: Document) -> str:
    """What the table shows, for the report; its numbers are in the CSV."""
    contents = {key: value for key, value in asdict(document).items() if key != "numbers"}
    return json.dumps(contents, ensure_ascii=False, indent=1) + "\n"


def document_from_json(text: str) -> Document:
    """Read what :func:`as_json` wrote: a document without its numbers."""
    stored = json.loads(text)
    sections = [
        Section(
            section["heading"],
            tuple(Column(**column) for column in section["columns"]),
            tuple(TextRow(tuple(row["cells"])) for row in section["rows"]),
        )
        for section in stored.pop("sections")
    ]
    return Document(**stored | {"sections": tuple(sections), "footnotes": tuple(stored["footnotes"]), "numbers": ()})


def as_markdown(document: Document) -> str:
    """GitHub's Markdown."""
    return environment("md").get_template("table.md.j2").render(document=document)


def as_latex(document: Document) -> str:
    """A ``table`` environment; needs the packages booktabs and graphicx."""
    label = re.sub("[^a-z0-9]+", "-", f"{document.paper}-{document.name}".lower())
    return environment("tex").get_template("table.tex.j2").render(document=document, label=label)


def as_html(document: Document) -> str:
    """A page of its own: no script, no font or style from elsewhere."""
    return environment("html").get_template("table.html.j2").render(document=document)


FORMATS: dict[str, Callable[[Document], str]] = {
    "csv": as_csv,
    "json": as_json,
    "md": as_markdown,
    "tex": as_latex,
    "html": as_html,
}
"""File ending to writer."""
