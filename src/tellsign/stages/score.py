"""Score test sets with all checkpoints of a run, by its method (`tellsign.detectors`).

Reads   the checkpoint folder of each seed (of a frozen backbone also the weights' own file), and for each test set its
        split and the inputs that the method looks at, by role and test set (crops@test)
Writes  one Parquet file: paper, run, seed, epoch, benchmark, subset, perturbation, id, label, score = p(fake); its
        notes tell how many images each training saw
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tellsign.detectors.protocol import Method
from tellsign.detectors.registry import METHODS
from tellsign.detectors.restoring import restored_methods
from tellsign.evaluation.scores import join_scores, rows_of_subset, write_scores
from tellsign.networks.determinism import pick_device
from tellsign.system.parquet import read_rows


def inputs_by_test(inputs: Mapping[str, Path], method_class: type[Method]) -> dict[str, dict[str, Any]]:
    """The inputs of each test set, opened: test set → role → input."""
    opened: dict[str, dict[str, Any]] = {}
    for key, path in inputs.items():
        role, _, test = key.partition("@")
        opened.setdefault(test, {})[role] = method_class.readers[role](path)
    return opened


def main(
    *,
    settings: dict[str, Any],
    checkpoints: dict[str, Path],
    splits: dict[str, Path],
    inputs: dict[str, Path],
    out: Path,
    device: str = "auto",
    batch_size: int = 64,
) -> None:
    """Score every test set with every kept epoch of every seed.

    Raises:
        UserError: weights do not fit, or an image of a split is not among the inputs.
    """
    target_device = pick_device(device)
    pieces: list[pa.Table] = []
    opened = inputs_by_test(inputs, METHODS.load(settings["method"]))
    rows = {test: read_rows(path) for test, path in splits.items()}
    for seed, folder in checkpoints.items():
        restored = restored_methods(folder, settings["keep"], settings["view"], target_device, settings["networks"])
        for epoch, target, method in restored:
            for test, facts in settings["tests"].items():
                wanted = rows_of_subset(rows[test], target) if target else rows[test]
                if not len(wanted):
                    continue
                ids = list(dict.fromkeys(wanted["id"].to_pylist()))  # shared reals are scored once
                scores = method.scores(opened[test], ids, batch_size)
                labels = {"paper": settings["paper"], "run": settings["run"], "seed": int(seed), "epoch": epoch} | facts
                pieces.append(join_scores(wanted, ids, scores, labels))
    write_scores(out, pa.concat_tables(pieces), checkpoints)
