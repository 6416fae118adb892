"""Tables of kind ``methods``: several methods side by side."""

from __future__ import annotations

import csv
import io
import math

from tellsign.results.tables.document import Document
from tellsign.results.tables.make import make_document
from tellsign.results.tables.writers import FORMATS
from tellsign.schema.tables import table_settings
from tellsign.stages.evaluate import COLUMNS

SETTINGS = table_settings({
    "paper": "folder", "name": "methods", "title": "T", "kind": "methods", "metric": "accuracy",
    "rows": [{"run": "lol/lol", "label": "LoL"}, {"run": "mpft/tam", "label": "MPFT"}],
})  # fmt: skip


def metrics(run: str, right: dict[tuple[int, str], tuple[float, float]], **images: int) -> list[dict]:
    """Rows of a run from (seed, subset) → accuracy on reals and on fakes; a twentieth is the interval's half width."""
    rows = []
    for (seed, subset), (real, fake) in right.items():
        values = {"accuracy_real": real, "accuracy_fake": fake, "accuracy": (real + fake) / 2}
        for metric, value in values.items():
            half = 0.0 if {real, fake} == {0.0, 1.0} else 0.05
            paper, _, name = run.partition("/")
            numbers = (paper, name, seed, "last", 1, 1, "folder", subset, "none", "0.5", metric, value, value - half)
            numbers += (value + half, math.nan, images.get("real", 40), 50, 100.0, "r", "c", "d", "")
            rows.append(dict(zip(COLUMNS, numbers, strict=True)))
    return rows


def made(*runs: list[dict]) -> Document:
    return make_document(SETTINGS, [row for run in runs for row in run], [])


LOL = metrics("lol/lol", {(0, "a"): (0.8, 0.6), (0, "mean"): (0.8, 0.6)})


def test_every_subset_has_its_images_and_its_interval() -> None:
    (section,) = made(LOL, metrics("mpft/tam", {(0, "a"): (0.9, 0.9), (0, "mean"): (0.9, 0.9)})).sections
    assert [column.name for column in section.columns] == [
        "", "a: 40 real, 50 fake", "mean: 40 real, 50 fake", "seeds",
    ]  # fmt: skip
    assert [row.cells for row in section.rows] == [
        ("LoL", "70.0 (65.0–75.0)", "70.0 (65.0–75.0)", "1"),
        ("MPFT", "90.0 (85.0–95.0)", "90.0 (85.0–95.0)", "1"),
    ]


def test_one_verdict_for_all_images_is_said_and_has_no_interval() -> None:
    document = made(LOL, metrics("mpft/tam", {(0, "a"): (1.0, 0.0), (0, "mean"): (1.0, 0.0)}))
    assert document.sections[0].rows[1].cells[1] == "50.0"
    assert "MPFT, a: calls everything real." in document.footnotes
    assert any(note.startswith("A run that gives all images") for note in document.footnotes)


def test_one_verdict_at_some_seeds_is_said_beside_the_interval() -> None:
    right = {(0, "a"): (0.0, 1.0), (1, "a"): (0.8, 0.6), (0, "mean"): (0.5, 0.5), (1, "mean"): (0.5, 0.5)}
    document = made(LOL, metrics("mpft/tam", right))
    assert "MPFT, a: calls everything fake at 1 of 2 seeds." in document.footnotes
    assert document.sections[0].rows[1].cells[1] == "60.0 (57.5–62.5)"


def test_the_csv_holds_ends_of_intervals_and_images() -> None:
    document = made(LOL, metrics("mpft/tam", {(0, "a"): (0.9, 0.9), (0, "mean"): (0.9, 0.9)}))
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](document))))
    assert {(row["run"], row["subset"], row["low"], row["n_fake"]) for row in rows} == {
        ("lol/lol", "a", "65.0000", "50"), ("lol/lol", "mean", "65.0000", "50"),
        ("mpft/tam", "a", "85.0000", "50"), ("mpft/tam", "mean", "85.0000", "50"),
    }  # fmt: skip
