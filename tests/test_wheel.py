"""The package without its repository: the wheel brings the commands for people's own pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from small_runs import BRIEF, trained_runs

REPOSITORY = Path(__file__).parents[1]


def test_the_wheel_predicts_without_the_repository(tmp_path, tmp_path_factory):
    uv, site = Path(sys.executable).with_name("uv"), tmp_path / "site"
    build = ["build", "--quiet", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([uv, *build, "--out-dir", tmp_path, REPOSITORY], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    install = ["pip", "install", "--quiet", "--offline", "--no-deps", "--target", site, "--python", sys.executable]
    subprocess.run([uv, *install, wheel], check=True, cwd=tmp_path)

    folder, plan = trained_runs(tmp_path_factory, BRIEF, {"a": {}})
    checkpoint = folder / plan.checkpoint(plan.run("toys", "a"), 0).path
    pixels = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    for name in ("sd/real/a.png", "sd/fake/b.png"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "mine" / name)

    def tellsign(*words: str) -> str:
        told = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tellsign", *words]
        return subprocess.run(command, check=True, cwd=tmp_path, env=told, capture_output=True, text=True).stdout

    where = [sys.executable, "-c", "import tellsign; print(tellsign.__file__)"]
    alone = os.environ | {"PYTHONPATH": str(site)}
    found = subprocess.run(where, check=True, cwd=tmp_path, env=alone, capture_output=True, text=True).stdout
    assert Path(found.strip()).is_relative_to(site)
    assert tellsign("--version").startswith("tellsign ")
    assert "sd" in tellsign("look", "mine")
    tellsign("predict", "mine", "--checkpoint", str(checkpoint), "--out", "scores.json")
    rows = json.loads((tmp_path / "scores.json").read_text())["pictures"]
    assert [Path(row["path"]).name for row in rows] == ["b.png", "a.png"]
    assert rows[0]["score"] == rows[1]["score"]  # equal pixels
    assert "serve" in tellsign("serve", "--help")
