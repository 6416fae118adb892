"""Score test sets with all checkpoints of a run.

Reads   the checkpoint folder of each seed, and for each test set its split and its centre crops
Writes  one Parquet file: paper, run, seed, epoch, benchmark, subset, perturbation, id, label, score = p(fake)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from tellsign.data.pixels import PixelTable
from tellsign.evaluation.scores import join_scores, rows_of_subset
from tellsign.networks.detectors import load_detector, weight_files
from tellsign.networks.determinism import pick_device
from tellsign.networks.inference import score_images
from tellsign.system.parquet import read_rows, write_rows


def main(
    *,
    settings: dict[str, Any],
    checkpoints: dict[str, Path],
    splits: dict[str, Path],
    crops: dict[str, Path],
    out: Path,
    device: str = "auto",
    batch_size: int = 64,
) -> None:
    """Score every test set with every kept epoch of every seed.

    Raises:
        UserError: weights do not fit, or an image of a split has no crop.
    """
    target_device = pick_device(device)
    pieces: list[pa.Table] = []
    tables = {test: PixelTable.open(folder) for test, folder in crops.items()}
    rows = {test: read_rows(path) for test, path in splits.items()}
    for seed, folder in checkpoints.items():
        held = list(weight_files(folder))
        last = max(epoch for epoch, _, _ in held)  # where training stopped early not the recipe's
        for epoch, target, name in held:
            if not target and epoch <= last - settings["keep"]:
                continue  # kept for another run
            detector = load_detector(folder, target_device, name)
            for test, facts in settings["tests"].items():
                wanted = rows[test]
                if target:
                    wanted = rows_of_subset(wanted, target)
                if not len(wanted):
                    continue
                ids = list(dict.fromkeys(wanted["id"].to_pylist()))  # shared reals are scored once
                scores = score_images(detector, tables[test], tables[test].rows_of(ids), settings["crop"], batch_size)
                labels = {"paper": settings["paper"], "run": settings["run"], "seed": int(seed), "epoch": epoch} | facts
                pieces.append(join_scores(wanted, ids, scores, labels))
    write_rows(out, pa.concat_tables(pieces))
