"""The weights that a checkpoint leaves in their own file, because the training did not change them.

A linear probe of ViT-L/14 trains 769 numbers of 303 million. Its checkpoints hold these, and the digest of the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open
from torch import Tensor, nn

from tellsign.errors import UserError
from tellsign.schema.frozen import PART, frozen_network

PREFIX = f"{PART}."
"""Begins the names of the backbone's tensors in a model."""


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Hex sha256 of the names, types, shapes and bytes of tensors, in the order of their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def frozen_part(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model's backbone, under their names in the model."""
    return {name: tensor for name, tensor in model.state_dict().items() if name.startswith(PREFIX)}


@dataclass(frozen=True)
class BaseWeights:
    """Weights that checkpoints leave in their own file.

    Attributes:
        network: The backbone's name.
        file: Digest of the file, as the plan gave it: hex sha256.
        tensors: `digest_of` the backbone's tensors.
    """

    network: str
    file: str
    tensors: str

    @classmethod
    def of(cls, model: nn.Module, settings: Mapping[str, Any]) -> Self | None:
        """Those of a model that is about to be trained; None where all of it is to be stored."""
        network, part = frozen_network(settings), getattr(model, PART, None)
        if network is None or not isinstance(part, nn.Module):
            return None
        if any(p.requires_grad for p in part.parameters()) or any(m.training for m in part.modules()):
            return None
        return cls(network["name"], network["digest"], digest_of(frozen_part(model)))

    @classmethod
    def noted_in(cls, path: Path) -> Self | None:
        """Those that a checkpoint was saved without; None where it has all."""
        with safe_open(path, "pt") as stored:
            note = (stored.metadata() or {}).get("base")
        return None if note is None else cls(**json.loads(note))

    def note(self) -> dict[str, str]:
        """What a checkpoint says of them, for `noted_in`."""
        return {"base": json.dumps(asdict(self), sort_keys=True)}

    def are_in(self, model: nn.Module) -> bool:
        """Whether a model's backbone has these weights."""
        return digest_of(frozen_part(model)) == self.tensors

    def held_by(self, model: nn.Module, path: Path) -> dict[str, Tensor]:
        """The tensors of the model's backbone, which must be these weights.

        Args:
            model: Its backbone has been loaded from its file.
            path: The checkpoint, for the error.

        Raises:
            UserError: they are others.
        """
        if not self.are_in(model):
            raise UserError(
                f"{path} is a head on the weights of {self.network} whose file had the digest {self.file}; this file "
                "is here no longer, or is another one. `tellsign weights` says where the weights come from; with "
                f"others, delete {path.parent} and run the same command again: it is trained anew."
            )
        return frozen_part(model)
