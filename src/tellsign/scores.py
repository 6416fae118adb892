"""Scores as rows: every listed image once, none missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from tellsign.errors import UserError


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
    columns: dict[str, Any] = {key: pa.array([value] * len(names)) for key, value in facts.items()}
    columns |= {"subset": split["subset"], "id": split["id"], "label": split["label"]}
    columns["score"] = pa.array([of[name] for name in names], pa.float32())
    order = ["paper", "run", "seed", "epoch", "benchmark", "subset", "perturbation", "id", "label", "score"]
    return pa.table({key: columns[key] for key in order})
