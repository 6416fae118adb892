"""Snapshots of the hub in folders: whether the files are there and the tensors are the model's.

Files are looked at before anything slow is imported; tensors are compared after transformers has read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tellsign.errors import UserError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
GET = "`tellsign weights` says where it comes from, `tellsign weights --fetch` downloads it."
LISTED = 8
"""Tensors that an error names of each fault; the rest are counted."""


class Family(Protocol):
    """What a kind of model needs of a snapshot.

    Attributes:
        model_type: What config.json says under ``model_type``.
        tokenizer_files: Sets of files, each of which is a whole tokenizer.
    """

    model_type: ClassVar[str]
    tokenizer_files: ClassVar[tuple[tuple[str, ...], ...]]


def check_files(folder: Path, name: str, family: type[Family]) -> None:
    """Refuse a folder before anything slow is imported or read."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} with the weights of {name}. {GET}")
    missing = [wanted for wanted, ways in _wanted(family).items() if not any(_has(folder, way) for way in ways)]
    if missing:
        raise UserError(f"{folder} has no {'; no '.join(missing)}. {GET}")
    texts = {path.name: _json(path) for path in sorted(folder.glob("*.json"))}
    came = texts["config.json"].get("model_type")
    if came != family.model_type:
        raise UserError(
            f"{folder} holds a model of type {came!r}; {name} needs {family.model_type!r}. Set weights to the folder "
            f"of {name}, or name the captioner that the folder holds."
        )
    shards = set(texts.get(weights_file(folder), {}).get("weight_map", {}).values())
    absent = sorted(file for file in shards if not (folder / file).is_file())
    if absent:
        raise UserError(f"{folder} lacks {', '.join(absent)}, which its index names: an unfinished download? {GET}")


def weights_file(folder: Path) -> str:
    """The file that holds or lists the weights: safetensors first, as transformers chooses."""
    return next(file for file in WEIGHTS if (folder / file).is_file())


def _wanted(family: type[Family]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """What a snapshot is made of, and the sets of files that each part can be."""
    return {
        "config.json": (("config.json",),),
        f"weights ({', '.join(WEIGHTS)})": tuple((file,) for file in WEIGHTS),
        "preprocessor_config.json": (("preprocessor_config.json",), ("processor_config.json",)),
        f"tokenizer ({' or '.join(' with '.join(files) for files in family.tokenizer_files)})": family.tokenizer_files,
    }


def _has(folder: Path, files: tuple[str, ...]) -> bool:
    return all((folder / file).is_file() for file in files)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise UserError(f"{path} cannot be read as JSON: {problem}. {GET}") from problem
    return content if isinstance(content, dict) else {}


def check_tensors(folder: Path, report: Mapping[str, Any]) -> None:
    """Account for every tensor."""
    misshapen = {f"{name} {tuple(came)} instead of {tuple(due)}" for name, came, due in report["mismatched_keys"]}
    faults = {
        "missing": report["missing_keys"],
        "left over": report["unexpected_keys"],
        "misshapen": misshapen,
        "unreadable": report["error_msgs"],
    }
    differing = [
        f"{len(names)} {what}: {', '.join(sorted(names)[:LISTED])}{', …' if len(names) > LISTED else ''}"
        for what, names in faults.items()
        if names
    ]
    if differing:
        raise UserError(f"the tensors in {folder} are not this model's. {'; '.join(differing)}. {GET}")
