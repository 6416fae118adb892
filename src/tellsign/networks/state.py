"""Tensors in files of weights: reading, renaming to our names, and loading strictly."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # what torch.load(weights_only=True) raises; nothing is unpickled
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tellsign.errors import UserError
from tellsign.networks.headers import NUMPY_SCALARS, read_header, refuse_foreign, unreadable
from tellsign.networks.torchscript import read_archive
from tellsign.networks.transformers_clip import is_transformers_clip, open_clip_names

State = Mapping[str, Tensor]

# Prefixes of an image tower's tensors in the files we may meet: ours (a whole CLIP, a detector, a
# backbone), then open_clip's whole model. A file without any holds the bare network.
_IMAGE_PREFIXES = ("image.net.", "backbone.net.", "net.", "visual.")
# published with a classifier, which a backbone has not
_CLASSIFIER = ("net.fc.weight", "net.fc.bias", "net.head.fc.weight", "net.head.fc.bias")


NESTS = ("state_dict", "model", "netC")
"""Under one of these a checkpoint holds its tensors; the last is AIGCDetectBenchmark's."""


def image_part(state: State) -> dict[str, Tensor]:
    """An image tower's tensors, named as in `Backbone`.

    Raises:
        UserError: they are named as in transformers' CLIP, but not all of them.
    """
    state = open_clip_names(state) if is_transformers_clip(state) else state
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
    """A CLIP's tensors, named as in `Clip`, from our own file, open_clip's or transformers'.

    Raises:
        UserError: they are named as in transformers' CLIP, but not all of them.
    """
    state = open_clip_names(state) if is_transformers_clip(state) else state
    if any(key.startswith("image.net.") for key in state):
        return dict(state)
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        visual = key.startswith("visual.")
        renamed[f"image.net.{key.removeprefix('visual.')}" if visual else f"text.{key}"] = value
    return renamed


def read_stored(path: Path) -> Any:
    """What a file of weights holds: tensors by name, or a checkpoint with tensors and plain values.

    Numbers of NumPy, which trainings leave beside the tensors, are plain values too. Tensors are mapped, so that what
    nobody takes (an optimizer's state) is not read.

    Raises:
        UserError: the file is missing, is no file of weights, or holds something else.
    """
    if not path.is_file():
        raise UserError(f"the weights file {str(path)!r} does not exist.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        header = read_header(path)
        if header.container == "torchscript":
            return read_archive(path)
        refuse_foreign(path, header)
        with torch.serialization.safe_globals(_numpy_numbers()):  # files of torch before 1.6 cannot be mapped
            return torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError) as error:
        raise unreadable(path, error) from error


def _numpy_numbers() -> list[Any]:
    """What makes a number of NumPy from a pickle; nothing else of NumPy's is made."""
    make_number = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "float32", "float64")]
    return [*((make_number, name) for name in NUMPY_SCALARS), np.dtype, *kinds]


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict: safetensors, a torch file of tensors and plain values, or OpenAI's archive of a CLIP.

    Raises:
        UserError: the file is missing or is no such thing.
    """
    stored = read_stored(path)
    state = next((stored[key] for key in NESTS if key in stored), stored) if isinstance(stored, dict) else stored
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{str(path)!r} holds no dict of tensors but {type(state).__name__}.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_strictly(module: nn.Module, state: State, what: str) -> None:
    """Load a state dict that must fit in every tensor; half precision is widened.

    Only BatchNorm's ``num_batches_tracked`` may lack: files of old torch versions have none and no number
    depends on it.

    Raises:
        UserError: lists every missing, unknown, misshapen and quantised tensor.
    """
    own = module.state_dict()
    counters = {key: own[key] for key in own if key.endswith("num_batches_tracked")}
    state = {**counters, **state}
    faults = [f"missing: {key} {tuple(own[key].shape)}" for key in own if key not in state]
    faults += [f"unknown: {key} {tuple(state[key].shape)}" for key in state if key not in own]
    faults += [
        f"quantised: {key} is {state[key].dtype}, not {value.dtype}"
        for key, value in own.items()
        if key in state and state[key].is_floating_point() != value.is_floating_point()
    ]
    for key in own:
        stored, expected = tuple(state[key].shape) if key in state else None, tuple(own[key].shape)
        bank = expected[:1] == (0,) and stored is not None and stored[1:] == expected[1:]  # takes any rows
        if stored not in (None, expected) and not bank:
            faults.append(f"misshapen: {key} is {stored}, not {expected}")
    if faults:
        raise UserError(f"{what} does not fit: {len(faults)} tensors differ.\n  " + "\n  ".join(faults))
    module.load_state_dict(state)
