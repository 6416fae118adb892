"""A run through the stages on a few small images: its data, plan, training and scores.

Reals are noise, fakes the same noise enlarged twofold, so that neighbouring pixels of a fake are alike.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import demo_config, make_plan

from tellsign.detectors.checkpoints import read_recipe
from tellsign.stages import score, train
from tellsign.system.parquet import read_rows, write_rows

BRIEF = {
    "backbone": {"name": "demo-clip-rn", "weights": "shipped"},
    "crop": 72,
    "epochs": 1,
    "batch_size": 4,
    "optimiser": {"name": "adam", "lr": 1e-3},
}
"""A recipe that trains a detector in a second."""


def made(folder: Path, part: str, count: int, seed: int) -> None:
    """A split and its crops."""
    draws = np.random.default_rng(seed)
    sides = [(int(h), int(w)) for h, w in draws.integers(40, 56, (count, 2))]
    images = [draws.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sides]
    labels = [i % 2 for i in range(count)]
    for i in range(1, count, 2):
        images[i] = images[i][::2, ::2].repeat(2, 0).repeat(2, 1)[: sides[i][0], : sides[i][1]]
    ids = [f"{part}{i}" for i in range(count)]
    columns = {"subset": ["a"] * count, "label": labels, "id": ids, "rank": [i // 2 for i in range(count)]}
    write_rows(folder / f"{part}.parquet", columns)
    (folder / part).mkdir()
    np.save(folder / part / "pixels.npy", np.concatenate([image.reshape(-1, 3) for image in images]))
    counts = np.array([h * w for h, w in sides])
    heights, widths = zip(*sides, strict=True)
    rows = {"id": ids, "height": heights, "width": widths, "offset": np.cumsum(counts) - counts}
    write_rows(folder / part / "images.parquet", {name: list(values) for name, values in rows.items()})


def train_and_val(factory: pytest.TempPathFactory) -> Path:
    """A folder with 12 training images and 8 others."""
    folder = factory.mktemp("data")
    made(folder, "train", 12, 0)
    made(folder, "val", 8, 1)
    return folder


def plan_of(folder: Path, runs: dict[str, dict], base: dict | None = None) -> Any:
    """The demo's plan with one paper, ``toys``, of these runs."""
    paper = {"paper": "toys", "title": "Toys", "seeds": [0], "base": base or {}, "runs": runs}
    (folder / "toys.yaml").write_text(yaml.safe_dump(paper))
    return make_plan(demo_config() | {"papers": [str(folder / "toys.yaml")]})


def trained(data: Path, out: Path, artifact: Any, **options: Any) -> list[dict[str, str]]:
    """Train a run on the training images; the training's log."""
    inputs = {role: data / "train" for role, _ in artifact.needs["inputs"]}
    train.main(settings=artifact.settings, split=data / "train.parquet", inputs=inputs, out=out,
               work=out.with_name("work"), device="cpu", **options)  # fmt: skip
    return list(csv.DictReader((out / "log.csv").read_text().splitlines()))


def trained_runs(
    factory: pytest.TempPathFactory, base: dict, runs: dict[str, dict], untrained: dict[str, dict] | None = None
) -> tuple[Path, Any]:
    """A folder with the images and the checkpoints of runs, and the plan of these and of others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        folder = train_and_val(factory)
        plan = plan_of(folder, runs | (untrained or {}), base)
        for name in runs:
            artifact = plan.checkpoint(plan.run("toys", name), 0)
            trained(folder, folder / artifact.path, artifact)
    return folder, plan


def scored(data: Path, checkpoint: Path, artifact: Any) -> Any:
    """Scores of the other images."""
    inputs = {role: data / "val" for role, _ in artifact.needs["inputs"]}
    splits = {test: data / "val.parquet" for test in artifact.settings["tests"]}
    out = checkpoint.with_name("scores.parquet")
    score.main(settings=artifact.settings, checkpoints={"0": checkpoint}, splits=splits, inputs=inputs, out=out,
               device="cpu")  # fmt: skip
    return read_rows(out)


def check_run(data: Path, folder: Path, run: dict[str, Any]) -> list[dict[str, str]]:
    """A run is planned, trained and scored; trained again it has the same bytes. The training's log.

    Args:
        data: What `train_and_val` made.
        folder: Where files may be written.
        run: What the run says: its method, and two epochs if it has any.
    """
    plan = plan_of(folder, {"rival": run})
    planned = plan.run("toys", "rival")
    checkpoint, scores = plan.checkpoint(planned, 0), plan.score(planned)
    assert checkpoint.stage.startswith("train") and scores.stage.startswith("score")
    log = trained(data, folder / "run", checkpoint)
    assert [row["epoch"] for row in log] == ["1", "2"][: run.get("epochs", 0)]
    assert read_recipe(folder / "run")["method"] == run["method"]
    found = scored(data, folder / "run", scores)["score"].to_pylist()
    assert len(found) == 8 and all(0 <= score <= 1 for score in found) and len(set(found)) > 1
    trained(data, folder / "again", checkpoint)
    first, second = ((folder / name / "model.safetensors").read_bytes() for name in ("run", "again"))
    assert first == second
    return log
