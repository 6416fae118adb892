"""The page that holds all tables and figures of a configuration: one HTML file, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tellsign.results.tables.document import Document
from tellsign.results.tables.writers import TEMPLATES as TABLE_TEMPLATES
from tellsign.results.tables.writers import environment

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class TableOnPage:
    """A table on the page.

    Attributes:
        artifact: name of its folder, with the fingerprint.
        anchor: identifier on the page.
        title: its heading.
        document: what is shown.
        digests: what its numbers were made from, (kind of digest, digests).
    """

    artifact: str
    anchor: str
    title: str
    document: Document
    digests: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class FigureOnPage:
    """A figure on the page.

    Attributes:
        artifact: name of its folder, with the fingerprint.
        anchor: identifier on the page.
        title: its heading.
        words: all words of the figure, for those who do not see it.
        source: the picture as a data URI.
    """

    artifact: str
    anchor: str
    title: str
    words: str
    source: str


@dataclass(frozen=True)
class PaperOnPage:
    """A paper's tables and figures."""

    key: str
    title: str
    tables: Sequence[TableOnPage]
    figures: Sequence[FigureOnPage]


def render(name: str, banner: str, papers: Sequence[PaperOnPage]) -> str:
    """The page as HTML; equal inputs give equal text.

    Args:
        name: of the configuration.
        banner: stands above everything; may be empty.
        papers: in the order of the page; one without tables and figures is left out.
    """
    papers_with_results = [paper for paper in papers if paper.tables or paper.figures]
    values: Mapping[str, object] = {"name": name, "banner": banner, "papers": papers_with_results}
    return environment("html", TEMPLATES, TABLE_TEMPLATES).get_template("report.html.j2").render(values)
