"""One CSV of every tested image with the score of every run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import demo_config, make_plan

from tellsign.__main__ import run
from tellsign.commands import scores
from tellsign.plan.plan import Plan
from tellsign.system.parquet import write_rows


def score_file(path: str, rows: list[tuple[int, int, str, str, float]]) -> None:
    """Scores from (seed, epoch, perturbation, id, score)."""
    seeds, epochs, perturbations, ids, values = zip(*rows, strict=True)
    columns = {"seed": list(seeds), "epoch": list(epochs), "perturbation": list(perturbations), "id": list(ids)}
    more = {"benchmark": ["demo"] * len(rows), "subset": ["ldm"] * len(rows), "score": np.array(values, np.float32)}
    write_rows(Path(path), columns | more)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The demo's plan, in a folder where two images of ldm were listed."""
    monkeypatch.chdir(tmp_path)
    made = make_plan(demo_config())
    monkeypatch.setattr(scores, "plan_of", lambda _file, _given: made)
    split = made.split("test")
    (key, folder), *_ = split.needs["index"][0][1].needs["made"]
    rows = {"subset": ["ldm"] * 2, "label": [0, 1], "root": [key] * 2, "path": ["a.jpg", "b.png"], "id": ["x", "y"]}
    write_rows(Path(split.path), rows)
    assert folder.path.startswith("data/")
    return made


def test_a_row_an_image_and_a_column_a_run(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = [(0, 5, "none", "x", 0.9), (0, 6, "none", "x", 0.1), (0, 6, "none", "y", 0.5), (0, 6, "test-blur", "x", 1.0)]
    held += [(1, 6, "none", "x", 0.3), (1, 6, "none", "y", 1.0)]
    score_file(plan.score(plan.run("lol", "lol")).path, held)
    assert run(["scores", "--run", "lol/lol", "lol/direct", "--out", "s.csv"]) == 1
    assert capsys.readouterr().err.endswith("not scored yet, and left out: lol/direct\n")
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert [(row["subset"], row["label"], row["lol/lol"]) for row in rows] == [
        ("ldm", "real", "0.200000"), ("ldm", "fake", "0.750000"),
    ]  # fmt: skip
    assert rows[0]["path"].startswith("data/demo_") and rows[0]["path"].endswith("/a.jpg")


def test_without_any_scores_the_command_that_makes_them_is_said(plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
    assert run(["scores", "--run", "lol/lol"]) == 2
    assert "none of the 1 runs of config/config.yaml has been scored" in caplog.text
    assert run(["scores", "--run", "lol/lool"]) == 2
    assert "Did you mean 'lol/lol'" in caplog.text
