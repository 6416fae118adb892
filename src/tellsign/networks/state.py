"""Tensors in files of weights: reading, renaming to our names, and loading strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # what torch.load(weights_only=True) raises; nothing is unpickled

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tellsign.errors import UserError

State = Mapping[str, Tensor]

# Prefixes of an image tower's tensors in the files we may meet: ours (a whole CLIP, a detector, a
# backbone), then open_clip's whole model. A file without any holds the bare network.
_IMAGE_PREFIXES = ("image.net.", "backbone.net.", "net.", "visual.")
# published with a classifier, which a backbone has not
_CLASSIFIER = ("net.fc.weight", "net.fc.bias", "net.head.fc.weight", "net.head.fc.bias")


def image_part(state: State) -> dict[str, Tensor]:
    """An image tower's tensors, named as in `Backbone`."""
    for prefix in _IMAGE_PREFIXES:
        tensors = {f"net.{key.removeprefix(prefix)}": state[key] for key in state if key.startswith(prefix)}
        if tensors:
            return tensors
    state = _swin_part(state) if "layers.0.blocks.0.attn.relative_position_bias_table" in state else state
    return {f"net.{key}": value for key, value in state.items() if f"net.{key}" not in _CLASSIFIER}


def _swin_part(state: State) -> dict[str, Tensor]:
    """A Swin's tensors as timm has named them since version 0.9.

    Swin's own files and older ones of timm hold tables that are computed anew, the classifier without ``fc``, and
    count a downsampling to the stage before it, where it is now counted to the stage that it opens.
    """
    tensors = {k: v for k, v in state.items() if not k.endswith(("relative_position_index", "attn_mask"))}
    if "layers.0.downsample.reduction.weight" not in tensors:
        return tensors
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        parts = key.split(".")
        if parts[0] == "head":
            parts.insert(1, "fc")
        elif parts[0] == "layers" and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) + 1)
        renamed[".".join(parts)] = value
    return renamed


def clip_part(state: State) -> dict[str, Tensor]:
    """A CLIP's tensors, named as in `Clip`, from our own file or open_clip's."""
    if any(key.startswith("image.net.") for key in state):
        return dict(state)
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        visual = key.startswith("visual.")
        renamed[f"image.net.{key.removeprefix('visual.')}" if visual else f"text.{key}"] = value
    return renamed


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict: safetensors, or a torch file that holds tensors only.

    Raises:
        UserError: the file is missing or is no such thing.
    """
    if not path.is_file():
        raise UserError(f"the weights file {str(path)!r} does not exist.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise UserError(
            f"{str(path)!r} cannot be read as weights: {str(error).partition(chr(10))[0] or type(error)}. "
            "Allowed: .safetensors, or a .pt/.bin/.pth that torch.load(weights_only=True) reads as a dict of "
            "tensors (no TorchScript archive; OpenAI's .pt files are such, open_clip's safetensors are not)."
        ) from error
    state = stored.get("state_dict", stored.get("model", stored)) if isinstance(stored, dict) else stored
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{str(path)!r} holds no dict of tensors but {type(state).__name__}.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_strictly(module: nn.Module, state: State, what: str) -> None:
    """Load a state dict that must fit in every tensor.

    Only BatchNorm's ``num_batches_tracked`` may lack: files of old torch versions have none and no number
    depends on it.

    Raises:
        UserError: lists every missing, unknown and misshapen tensor.
    """
    own = module.state_dict()
    counters = {key: own[key] for key in own if key.endswith("num_batches_tracked")}
    state = {**counters, **state}
    faults = [f"missing: {key} {tuple(own[key].shape)}" for key in own if key not in state]
    faults += [f"unknown: {key} {tuple(state[key].shape)}" for key in state if key not in own]
    for key in own:
        stored, expected = tuple(state[key].shape) if key in state else None, tuple(own[key].shape)
        bank = expected[:1] == (0,) and stored is not None and stored[1:] == expected[1:]  # takes any rows
        if stored not in (None, expected) and not bank:
            faults.append(f"misshapen: {key} is {stored}, not {expected}")
    if faults:
        raise UserError(f"{what} does not fit: {len(faults)} tensors differ.\n  " + "\n  ".join(faults))
    module.load_state_dict(state)
