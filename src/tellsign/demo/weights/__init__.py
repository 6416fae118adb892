"""The demo's trained networks, as they ship: safetensors beside this file, listed with their facts in
weights.json.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Any

from safetensors.torch import load
from torch import Tensor

from tellsign.errors import UserError


def facts() -> dict[str, Any]:
    """What weights.json says: per file its sha256 and training, and the machine that trained."""
    return json.loads(resources.files(__name__).joinpath("weights.json").read_text(encoding="utf-8"))


def read(name: str) -> dict[str, Tensor]:
    """Tensors of a shipped network (stored as fp16, given as fp32).

    Raises:
        UserError: the file's sha256 is not the one in weights.json.
    """
    data = resources.files(__name__).joinpath(f"{name}.safetensors").read_bytes()
    expected, digest = facts()["files"][name]["sha256"], hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise UserError(
            f"the shipped weights {name}.safetensors are damaged: sha256 {digest}, expected {expected}. "
            "Install the package again, or restore the file with git."
        )
    return {key: value.float() if value.is_floating_point() else value for key, value in load(data).items()}
