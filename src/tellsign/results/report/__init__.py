"""The page that holds all tables and figures of a configuration: one HTML file, no script, nothing from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tellsign import __version__
from tellsign.results.tables.document import Document, Marks
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


def shared_notes(papers: Sequence[PaperOnPage]) -> list[str]:
    """Footnotes that stand under more than one table, in order; marked ones explain a mark of their own table."""
    counts = Counter(note for paper in papers for table in paper.tables for note in set(table.document.footnotes))
    notes = dict.fromkeys(note for paper in papers for table in paper.tables for note in table.document.footnotes)
    return [note for note in notes if counts[note] > 1 and note[:1] not in Marks.SIGNS]


def render(name: str, banner: str, papers: Sequence[PaperOnPage]) -> str:
    """The page as HTML; equal inputs give equal text. What stands under several tables stands once, above them.

    Args:
        name: of the configuration.
        banner: stands above everything; may be empty.
        papers: in the order of the page; one without tables and figures is left out.
    """
    papers_with_results = [paper for paper in papers if paper.tables or paper.figures]
    values: Mapping[str, object] = {
        "name": name,
        "banner": banner,
        "papers": papers_with_results,
        "notes": shared_notes(papers_with_results),
        "version": __version__,
        "tables": sum(len(paper.tables) for paper in papers),
        "figures": sum(len(paper.figures) for paper in papers),
    }
    return environment("html", TEMPLATES, TABLE_TEMPLATES).get_template("report.html.j2").render(values)
