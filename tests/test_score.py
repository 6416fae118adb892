"""The stage that scores test sets."""

from types import SimpleNamespace

import numpy as np
import torch

from tellsign.stages import score
from tellsign.system.parquet import read_rows, write_rows


def test_a_run_looks_at_its_own_last_epochs_of_a_training_that_keeps_more(tmp_path, monkeypatch):
    rows = {"subset": ["ldm"], "id": ["a"], "label": np.array([1], np.int8), "rank": [0]}
    write_rows(tmp_path / "split.parquet", rows)
    table = SimpleNamespace(rows_of=lambda ids: torch.arange(len(ids)))
    monkeypatch.setattr(score.PixelTable, "open", lambda folder: table)
    monkeypatch.setattr(score, "weight_files", lambda folder: [(e, "", f"{e}") for e in (1, 2, 3, 4)])
    monkeypatch.setattr(score, "load_detector", lambda folder, device, name: int(name))
    monkeypatch.setattr(score, "score_images", lambda detector, *rest: np.array([detector / 10], np.float32))
    settings = {"paper": "p", "run": "r", "crop": 8, "tests": {"t": {"benchmark": "b", "perturbation": "none"}}}
    for keep, epochs in ((1, [4]), (2, [3, 4]), (4, [1, 2, 3, 4])):
        score.main(
            settings=settings | {"keep": keep}, checkpoints={"0": tmp_path}, splits={"t": tmp_path / "split.parquet"},
            crops={"t": tmp_path}, out=tmp_path / f"{keep}.parquet", device="cpu",
        )  # fmt: skip
        assert read_rows(tmp_path / f"{keep}.parquet")["epoch"].to_pylist() == epochs
