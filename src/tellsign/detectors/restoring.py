"""Trained methods as their checkpoint folders hold them, for whoever scores images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from tellsign.detectors.checkpoints import load_weights, read_recipe, weight_files
from tellsign.detectors.protocol import Method
from tellsign.detectors.registry import METHODS


def restored_methods(
    folder: Path,
    keep: int,
    view: Mapping[str, Any],
    device: torch.device,
    networks: Mapping[str, Any] | None = None,
) -> Iterator[tuple[int, str, Method]]:
    """What a run looks at in a checkpoint folder: epoch, target subset or "", and the method with those weights.

    Args:
        folder: The checkpoint folder.
        keep: So many of its last epochs.
        view: How pictures are looked at.
        device: Where batches are computed.
        networks: Networks whose weights it leaves in their own file, by setting; None for where they lay when it was
            trained.

    Raises:
        UserError: weights do not fit, or were changed.
    """
    recipe = read_recipe(folder) | dict(networks or {})
    weights = list(weight_files(folder))
    last = max(epoch for epoch, _, _ in weights)  # where training stopped early not the recipe's
    for epoch, target, name in weights:
        if not target and epoch <= last - keep:
            continue  # kept for another run
        method = METHODS.load(recipe["method"]).restore(recipe, view, device)
        load_weights(method.model, folder / name)
        method.model.eval()
        yield epoch, target, method
