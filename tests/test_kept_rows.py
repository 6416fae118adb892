"""`tellsign predict --out`, interrupted and asked again."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import BRIEF, trained_runs

from tellsign.__main__ import run
from tellsign.prediction import kept, rows
from tellsign.prediction.kept import kept_rows, place_beside
from tellsign.prediction.predictor import Predictor, source_of
from tellsign.prediction.rows import rows_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder, plan = trained_runs(tmp_path_factory, BRIEF, {"a": {}})
    return folder / plan.checkpoint(plan.run("toys", "a"), 0).path


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[Path]:
    """Seven files, the fourth no picture, in batches of two."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for module in (kept, rows):
        monkeypatch.setattr(module, "BATCH", 2)
    paths = [tmp_path / f"{i}.png" for i in range(7)]
    draws = np.random.default_rng(0)
    for path in paths:
        Image.fromarray(draws.integers(0, 256, (80, 80, 3), dtype=np.uint8)).save(path)
    paths[3].write_text("no picture")
    return paths


@pytest.fixture
def predictor(checkpoint, monkeypatch) -> Any:
    """A detector that counts the pictures that it scores."""
    one = Predictor(source_of(checkpoint), "cpu")
    scores, counted = one.scores, []
    monkeypatch.setattr(one, "scores", lambda crops: (counted.extend(crops), scores(crops))[1])
    one.counted = counted  # pyright: ignore[reportAttributeAccessIssue]
    return one


def interrupted(files: list[Path], predictor: Any, place: Path, count: int) -> None:
    """Take some rows, and count anew from here."""
    begun = kept_rows(files, [predictor], place)
    list(itertools.islice(begun, count))
    begun.close()  # pyright: ignore[reportAttributeAccessIssue]
    predictor.counted.clear()


@pytest.mark.parametrize("torn", [0, 5])
def test_it_goes_on_with_the_same_rows(files, predictor, tmp_path, torn):
    whole, place = list(rows_of(files, [predictor])), tmp_path / "kept"
    interrupted(files, predictor, place, 5)  # in the third batch, which is whole when its first row comes
    os.truncate(place, place.stat().st_size - torn)
    assert list(kept_rows(files, [predictor], place)) == whole
    assert len(predictor.counted) == (1 if not torn else 3)
    predictor.counted.clear()
    assert list(kept_rows(files, [predictor], place)) == whole and not predictor.counted


def test_a_changed_file_and_another_detector_are_scored_anew(files, predictor, tmp_path):
    place = tmp_path / "kept"
    interrupted(files, predictor, place, 7)
    Image.new("RGB", (90, 90), "red").save(files[4])
    assert list(kept_rows(files, [predictor], place)) == list(rows_of(files, [predictor]))
    assert len(predictor.counted) == 3 + 6  # the last two batches, and all pictures again
    interrupted(files, predictor, place, 7)
    predictor.digest = "another"
    assert len(list(kept_rows(files, [predictor], place))) == 7 and len(predictor.counted) == 6


def test_the_command_ends_without_what_it_kept(files, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, words = tmp_path / "answer.csv", ["predict", *map(str, files), "--checkpoint", str(checkpoint)]
    assert run([*words, "--device", "cpu", "--out", "answer.csv"]) == 1  # one file is no picture
    first = out.read_bytes()
    assert not place_beside(out).exists() and first.count(b"\n") == 8
