"""The script that measures a GPU runs in miniature, so that it works on the day when there is one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tellsign.networks.backbones.loading import load_backbone

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_every_section_runs_in_miniature_and_says_that_it_measures_no_gpu(tmp_path):
    done = run("--miniature", "--out", str(tmp_path / "rows.json"))
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "rows.json").read_text())
    assert "NOT a measurement of a GPU" in written["machine"] and written["machine"] in done.stdout
    assert {row["section"] for row in written["rows"]} == {
        "card", "check", "train", "save", "score", "caption", "ground",
    }  # fmt: skip
    assert all(math.isfinite(row["value"]) and row["value"] >= 0 for row in written["rows"])
    (saved,) = (row["value"] for row in written["rows"] if row["what"] == "MPFT: both")
    weights = sum(p.numel() for p in load_backbone("demo-clip-vit", "none", 0).parameters())
    assert saved * 2**30 > 16 * weights  # weights of a kept epoch, and a state of weights and two moments, in fp32
    exact = {row["what"]: row["value"] for row in written["rows"] if row["section"] == "check"}
    assert all(value == 0 for what, value in exact.items() if "float32 from" in what)
    assert all(0 < value < 0.02 for what, value in exact.items() if "bfloat16 from" in what)


def test_an_unknown_section_names_those_there_are():
    done = run("trian", "--miniature")
    assert done.returncode == 2 and "trian" in done.stderr and "train, save, score" in done.stderr
