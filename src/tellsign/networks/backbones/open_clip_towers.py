"""What all CLIPs of open_clip share: their towers as ours, normalisation, last map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from tellsign.errors import UserError, choose
from tellsign.networks.backbones.backbone import Backbone, Clip, Standardise
from tellsign.networks.backbones.maps import map_layer_of

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's, which open_clip's models keep unless their configuration says otherwise."""


def two_towers(model: Any, tokenise: Callable[..., Tensor], dim: int, size: int, front: Standardise) -> Clip:
    """open_clip's model as ours."""
    visual: Any = model.visual
    del model.visual  # it lives in the image tower alone

    def encode(text: nn.Module, texts: list[str]) -> Float[Tensor, "b d"]:
        device = text.get_parameter("text_projection").device
        return text.encode_text(tokenise(texts).to(device))  # pyright: ignore[reportCallIssue]

    return Clip(Backbone(visual, front, dim=dim, size=size, map_layer=map_layer_in(visual)), model, encode)


def normalisation(model: str, tag: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of a model of open_clip under a tag of its weights; without a tag, what all tags share.

    Raises:
        UserError: unknown tag, or tags that differ.
    """
    import open_clip

    tags = {one: open_clip.get_pretrained_cfg(model, one) for one in open_clip.list_pretrained_tags_by_model(model)}
    if tag:
        tags = {tag: choose(tags, tag, f"tag of {model}")}
    normalisations = {
        (tuple(one.get("mean") or CLIP_MEAN), tuple(one.get("std") or CLIP_STD)) for one in (tags or {"": {}}).values()
    }
    if len(normalisations) > 1:
        raise UserError(
            f"the published weights of {model} were trained with different normalisations; say which is meant: "
            f"open_clip:{model}/TAG, TAG being one of {', '.join(tags)}."
        )
    return normalisations.pop()


def map_layer_in(visual: Any) -> str | None:
    """The layer of an image tower whose output is its last spatial map; None where it is not known."""
    if hasattr(visual, "trunk"):  # timm's
        layer = map_layer_of(visual.trunk)
        return None if layer is None else f"trunk.{layer}"
    if hasattr(visual, "transformer"):
        return f"transformer.resblocks.{len(visual.transformer.resblocks) - 1}.ln_1"
    return "layer4" if hasattr(visual, "layer4") else None
