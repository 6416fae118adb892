"""Scores as rows: every listed image once, none missing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from tellsign.errors import UserError
from tellsign.system.parquet import column, read_notes, write_rows


def rows_of_subset(split: pa.Table, subset: str) -> pa.Table:
    """The rows of one subset."""
    rows = [i for i, name in enumerate(split["subset"].to_pylist()) if name == subset]
    return split.slice(rows[0], len(rows)) if rows else split.slice(0, 0)


def join_scores(
    split: pa.Table, ids: Sequence[str], scores: Float[np.ndarray, " n"], facts: Mapping[str, Any]
) -> pa.Table:
    """One row for every row of the split, with its image's score and the facts repeated.

    Raises:
        UserError: an image of the split has no score, or a score is not a number.
    """
    if not np.isfinite(scores).all():
        raise UserError(
            f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not numbers ({dict(facts)}). The "
            "checkpoint is damaged or its training diverged; look at its log.csv."
        )
    of = dict(zip(ids, scores.tolist(), strict=True))
    names = split["id"].to_pylist()
    missing = [name for name in names if name not in of]
    if missing:
        raise UserError(f"{len(missing)} of {len(names)} listed images have no score, the first is {missing[0]}.")
    columns: dict[str, Sequence[Any] | np.ndarray] = {key: [value] * len(names) for key, value in facts.items()}
    columns |= {"subset": split["subset"].to_pylist(), "id": names}
    columns["label"] = np.array(split["label"].to_pylist(), dtype=np.int8)
    columns["score"] = np.array([of[name] for name in names], dtype=np.float32)
    order = ["paper", "run", "seed", "epoch", "benchmark", "subset", "perturbation", "id", "label", "score"]
    return pa.Table.from_arrays([column(columns[key]) for key in order], names=order)


SEEN = "images_seen"
"""Images times epochs of a training: a fact of its provenance, and the note that a file of scores has of it."""


def write_scores(path: Path, rows: pa.Table, checkpoints: Mapping[str, Path]) -> None:
    """Write a file of scores, with a note of how many images its trainings saw, so that metrics need no checkpoint.

    Args:
        path: The file.
        rows: Those of `join_scores`.
        checkpoints: Seed to checkpoint folder.
    """
    facts = {seed: json.loads((folder / "provenance.json").read_bytes()) for seed, folder in checkpoints.items()}
    seen = {seed: float(known.get(SEEN, math.nan)) for seed, known in facts.items()}
    write_rows(path, rows, {SEEN: json.dumps(seen, sort_keys=True)})


def seen_by_training(path: Path) -> dict[int, float]:
    """Images times epochs of the training of each seed in a file of scores; NaN where it was not noted.

    Raises:
        UserError: the file is missing or damaged, or has no such note.
    """
    if (note := read_notes(path).get(SEEN)) is None:
        raise UserError(f"{path} does not say how many images its trainings saw. `rm` it and score again.")
    return {int(seed): seen for seed, seen in json.loads(note).items()}
