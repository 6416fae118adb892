"""Rows of a split: which images, which labels, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from tellsign.errors import UserError, near_miss
from tellsign.system.parquet import read_rows


def subsets_of(split: Path) -> list[str]:
    """Subsets of a split, in the order of its rows."""
    return list(dict.fromkeys(read_rows(split)["subset"].to_pylist()))


def chosen_rows(split: Path, subsets: Sequence[str], count: int | str) -> tuple[list[str], Int64[Tensor, " n"]]:
    """Image ids and labels of some subsets (none named: all), the first ``count`` of each, half a label.

    Raises:
        UserError: an unknown subset, an odd count, or fewer images than asked for.
    """
    table = read_rows(split).to_pydict()
    known = list(dict.fromkeys(table["subset"]))
    for subset in subsets:
        if subset not in known:
            raise UserError(
                f"{split.name} has no subset {subset!r}.{near_miss(subset, known)} It has: {', '.join(known)}."
            )
    wanted = set(subsets or known)
    if count != "all" and int(count) % 2:
        raise UserError(f"count is {count}; half of the images are real and half fake, so it must be even.")
    limit = None if count == "all" else int(count) // 2
    ids: list[str] = []
    labels: list[int] = []
    for subset, label, rank, name in zip(table["subset"], table["label"], table["rank"], table["id"], strict=True):
        if subset in wanted and (limit is None or rank < limit):
            ids.append(name)
            labels.append(label)
    if limit is not None and len(ids) < 2 * limit * len(wanted):
        raise UserError(
            f"{split.name} holds {len(ids)} of the {2 * limit * len(wanted)} images that count: {count} asks for in "
            f"{len(wanted)} subset(s). Raise the split's count or lower the run's data.count."
        )
    # a real image that several subsets share stands once for each, so that both labels stay balanced
    return ids, torch.tensor(labels, dtype=torch.int64)
