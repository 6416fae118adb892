"""Backbones and CLIPs by name, with their weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tellsign.errors import UserError, choose
from tellsign.networks.backbones import BACKBONES, CLIPS, SHIPPED
from tellsign.networks.backbones.backbone import Backbone, Clip
from tellsign.networks.backbones.fronts import FRONTS
from tellsign.networks.determinism import seeded
from tellsign.networks.state import State, clip_part, image_part, load_strictly, read_state

if TYPE_CHECKING:
    from tellsign.registry import Registry


def _stored(name: str, weights: str) -> State:
    """The state dict that ``weights`` names."""
    if weights == "shipped":
        if name not in SHIPPED:
            raise UserError(
                f"weights: shipped – no weights of {name!r} ship with the package, only of "
                f"{', '.join(SHIPPED)}. Set weights to none (random), to a file's path, or to a name that "
                "`tellsign weights --all` lists."
            )
        from tellsign.demo.weights import read

        return read(name)
    path = Path(weights)
    if name == "open-clip":
        path = path / "open_clip_model.safetensors"
    if not path.is_file():
        raise UserError(
            f"weights of {name!r}: {str(path)!r} is no file. Allowed: none (random), "
            f"shipped ({', '.join(SHIPPED)}), or the path of a .safetensors or .pt file. "
            "Set the recipe's field weights; `tellsign weights --all` says where the published files are."
        )
    return read_state(path)


def without_classifier(backbone: Backbone, state: State) -> dict[str, Tensor]:
    """A backbone's tensors without those of the classifier that its library publishes with it."""
    own = backbone.state_dict().keys()
    classifier = tuple(f"net.{prefix}." for prefix in backbone.classifiers)
    return {key: value for key, value in state.items() if key in own or not key.startswith(classifier)}


def _begun(registry: Registry, name: str, weights: str, seed: int) -> tuple[Any, State | None]:
    """A network of a registry with random weights, and the state dict that it is to have, None for these."""
    build = registry.load(name)
    state = None if weights == "none" else _stored(name, weights)
    with seeded(seed):
        network = build(Path(weights)) if name == "open-clip" else build()
    return network, state


def load_backbone(name: str, weights: str, seed: int, front: str | None = None) -> Backbone:
    """Build a backbone.

    Args:
        name: One of `BACKBONES`: a name, ``timm:NAME``, ``open_clip:NAME``, or ``open-clip``: any CLIP, from a folder
            with open_clip_config.json and open_clip_model.safetensors.
        weights: ``none`` (random, under ``seed``), ``shipped`` (demo CLIP towers), or a path: our
            checkpoints of a backbone, a detector or a CLIP, open_clip's state dict of a whole model or its
            visual tower, timm's.
        seed: Of the initialisation; without effect when weights are loaded.
        front: What the network sees, one of `FRONTS`; None for its own normalisation.

    Returns:
        The backbone in training mode, fp32, on the CPU.

    Raises:
        UserError: unknown name, missing or unfit weights.
    """
    backbone, state = _begun(BACKBONES, name, weights, seed)
    if state is not None:
        own = without_classifier(backbone, image_part(state))
        load_strictly(backbone, own, f"the file {weights!r} for backbone {name!r}")
    if front is not None:
        backbone.front = choose(FRONTS, front, "front")()
    return backbone


def load_clip(name: str, weights: str, seed: int) -> Clip:
    """Build an image and a text tower; see `load_backbone`. A path must hold both towers.

    Raises:
        UserError: unknown name, missing or unfit weights.
    """
    clip, state = _begun(CLIPS, name, weights, seed)
    if state is not None:
        load_strictly(clip, clip_part(state), f"the file {weights!r} for CLIP {name!r}")
    return clip
