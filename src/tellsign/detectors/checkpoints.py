"""Checkpoint folders: weights, the settings they were trained with, and what made them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save_file
from torch import nn

from tellsign.detectors.base_weights import BaseWeights, frozen_part
from tellsign.errors import UserError
from tellsign.networks.state import load_strictly, read_state
from tellsign.system.files import file_beside, write_text
from tellsign.system.integrity import MANIFEST, read_manifest, sha256_once
from tellsign.system.provenance import provenance


def read_recipe(folder: Path) -> dict[str, Any]:
    """The settings that a checkpoint folder was trained with.

    Raises:
        UserError: the folder is no checkpoint.
    """
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise UserError(f"{folder} is no checkpoint folder: it has no recipe.yaml. Was it copied whole?")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def save_weights(model: nn.Module, path: Path, base: BaseWeights | None = None) -> None:
    """Write a model's state as safetensors, whole or not at all; of weights that lie in a file of their own a note."""
    left_out = frozen_part(model) if base is not None else {}
    stored = {key: value for key, value in model.state_dict().items() if key not in left_out}
    state = {key: value.detach().cpu().contiguous() for key, value in stored.items()}
    with file_beside(path) as part:
        save_file(state, part, None if base is None else base.note())


def write_provenance(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write a checkpoint folder's ``provenance.json``: facts about the training, and what code and versions ran it."""
    write_text(folder / "provenance.json", provenance(**facts))


def load_weights(model: nn.Module, path: Path) -> None:
    """Load the state of a model from its checkpoint folder, strictly; what it leaves out must be in the model already.

    Raises:
        UserError: the file is missing, is not the one that its folder's manifest lists, or does not fit; every tensor
            that differs is listed. Or the model holds other weights than those that the file leaves out.
    """
    if not path.is_file():
        raise UserError(f"there is no {path}. Delete {path.parent} and run the same command again.")
    digest, listed = sha256_once(path), read_manifest(path.parent).get(path.name, "nothing of it")
    if digest != listed:
        raise UserError(
            f"{path} was changed since it was made: its sha256 is {digest}, {MANIFEST} says {listed}. Delete "
            f"{path.parent} and run the same command again, or restore it."
        )
    base = BaseWeights.noted_in(path)
    held = {} if base is None else base.held_by(model, path)
    load_strictly(model, held | read_state(path), str(path))


def kept_weights(epochs: int, keep: int) -> dict[int, str]:
    """Epochs (1-based) whose weights a checkpoint folder keeps, the last ``keep`` ones, and their file names."""
    earlier = {epoch: f"epoch-{epoch:02d}.safetensors" for epoch in range(max(1, epochs - keep + 1), epochs)}
    return earlier | {epochs: "model.safetensors"}


def weight_files(folder: Path) -> Iterator[tuple[int, str, str]]:
    """Weights of a checkpoint folder: (epoch, target subset or "", file name)."""
    epochs = int(read_recipe(folder).get("epochs", 0))
    if (folder / "provenance.json").is_file():  # where training stopped early, model.safetensors is the best epoch's
        epochs = int(json.loads((folder / "provenance.json").read_text(encoding="utf-8")).get("epoch", epochs))
    targets = sorted(folder.glob("target-*.safetensors"))
    for path in targets:
        yield epochs, path.stem.removeprefix("target-"), path.name
    if targets:
        return
    for path in sorted(folder.glob("epoch-*.safetensors")):
        yield int(path.stem.removeprefix("epoch-")), "", path.name
    if not (folder / "model.safetensors").is_file():
        raise UserError(f"{folder} holds no weights. Delete the folder and run the same command again.")
    yield epochs, "", "model.safetensors"
