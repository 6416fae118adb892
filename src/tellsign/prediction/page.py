"""What is said of one picture, as a page of HTML without script."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
from PIL import Image

from tellsign.errors import UserError
from tellsign.prediction.evidence import shortened
from tellsign.prediction.explain import Pixels, seen_by
from tellsign.prediction.output import Answer
from tellsign.prediction.predictor import Predictor, pixels_of
from tellsign.prediction.rows import Row, looked_at, scored

TEMPLATES = Path(__file__).parent / "templates"

SHOWN = 640
"""Longest side of a picture on the page, in pixels; larger ones are shrunk."""

NAMES = ("what it sees", "where it looks", "under its texture mask")
"""Of the pictures that `tellsign.prediction.explain.seen_by` gives."""


@dataclass(frozen=True)
class Said:
    """What one detector says of a picture.

    Attributes:
        name: The detector's.
        score: p(fake).
        verdict: At the threshold.
        rests_on: Its checkpoint and protocol.
        warnings: What lowers the trust in its score and not in every detector's.
        pictures: What it sees and looks at: a name and a data URI each.
        missing: Why there are no pictures.
    """

    name: str
    score: float
    verdict: str
    rests_on: str
    warnings: Sequence[str]
    pictures: Sequence[tuple[str, str]]
    missing: str


class PictureAsker:
    """Asks detectors about pictures, one at a time, and makes pages of what they say.

    Args:
        predictors: The detectors.
        threshold: A greater score is called fake.
        banner: Said above everything; may be empty.
        note: How the pictures of `Said` are to be read.
        limit: The most bytes that a file may have, which the page says.
    """

    def __init__(self, predictors: Sequence[Predictor], threshold: float, banner: str, note: str, limit: int) -> None:
        self._predictors = predictors
        self._answer = Answer([], {p.source.name: p.rests_on for p in predictors}, threshold, banner, {})
        self._page = functools.partial(template().render, answer=self._answer, note=note, limit=limit / 1e6)

    def front(self, problem: str) -> str:
        """The page without a picture, with a problem to be told or an empty text."""
        return self._page(problem=problem)

    def look(self, name: str, data: bytes) -> tuple[bool, str]:
        """Whether a file is a picture that can be used, and the page that says what there is to say of it."""
        looked = looked_at(Path(name), data, self._predictors)
        (row,) = scored([looked], self._predictors)
        row = replace(row, path=Path(shortened(name)))
        if row.problem:
            return False, self._page(problem=f"{row.path}: {row.problem}.")
        pixels = pixels_of(data)
        warned = [list(predictor.warnings(*pixels.shape[:2])) for predictor in self._predictors]
        # what holds for some detectors alone is said beside these
        own = {warning for warnings in warned for warning in warnings if not all(warning in w for w in warned)}
        said = [
            self._said(predictor, score, [warning for warning in warnings if warning in own], pixels)
            for predictor, score, warnings in zip(self._predictors, row.scores, warned, strict=True)
        ]
        general = [warning for warning in row.warnings if warning not in own]
        verdict = self._answer.verdict(row)
        picture = data_uri(pixels, "JPEG")
        return True, self._page(row=row, verdict=verdict, picture=picture, said=said, warnings=general, problem="")

    def _said(self, predictor: Predictor, score: float, warnings: Sequence[str], pixels: Pixels) -> Said:
        alone = self._answer.verdict(Row(Path(), scores=(score,)))
        try:
            drawn, missing = [data_uri(image, "PNG") for image in seen_by(predictor, pixels)], ""
        except UserError as problem:
            drawn, missing = [], str(problem)
        pictures = list(zip(NAMES, drawn, strict=False))
        return Said(predictor.source.name, score, alone, predictor.rests_on, warnings, pictures, missing)


def data_uri(pixels: Pixels, form: str) -> str:
    """A picture as text within a page, at most `SHOWN` pixels long."""
    image = Image.fromarray(pixels)
    image.thumbnail((SHOWN, SHOWN))
    stream = io.BytesIO()
    image.save(stream, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


@functools.cache
def template() -> jinja2.Template:
    """The page; every value in it is escaped."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("page.html.j2")


def style() -> str:
    """The style of the page."""
    return (TEMPLATES / "page.css").read_text(encoding="utf-8")
