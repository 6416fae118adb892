"""Score test sets with all heads of a run (TIDY).

Reads   the checkpoint folder of each seed, and for each test set its split and its features
Writes  one Parquet file: paper, run, seed, epoch, benchmark, subset, perturbation, id, label, score = p(fake)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from tellsign.data.features import Features
from tellsign.evaluation.scores import join_scores
from tellsign.methods.representation import representation
from tellsign.networks.detectors import build_head, load_weights, read_recipe, weight_files
from tellsign.networks.determinism import pick_device
from tellsign.system.parquet import read_rows, write_rows


def main(
    *,
    settings: dict[str, Any],
    checkpoints: dict[str, Path],
    splits: dict[str, Path],
    features: dict[str, Path],
    out: Path,
    device: str = "cpu",
) -> None:
    """Score every test set with every kept epoch of every seed."""
    target_device = pick_device(device)
    held = {test: Features.load(folder) for test, folder in features.items()}
    rows = {test: read_rows(path) for test, path in splits.items()}
    pieces: list[pa.Table] = []
    for seed, folder in checkpoints.items():
        recipe = read_recipe(folder)
        for epoch, _, name in weight_files(folder):
            if epoch <= recipe["epochs"] - settings["keep"]:
                continue  # kept for another run
            head = build_head(recipe["head"], recipe["dim"], recipe["seed"])
            load_weights(head, folder / name)
            head.to(target_device).eval()
            for test, facts in settings["tests"].items():
                inputs = representation(held[test], recipe["discrepancy"]).to(target_device)
                with torch.inference_mode():
                    scores = head(inputs).sigmoid().cpu().numpy()
                labels = {"paper": settings["paper"], "run": settings["run"], "seed": int(seed), "epoch": epoch} | facts
                pieces.append(join_scores(rows[test], held[test].ids, scores, labels))
    write_rows(out, pa.concat_tables(pieces))
