"""CLIPs as transformers names their tensors: renamed to open_clip's names, which are OpenAI's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from tellsign.errors import UserError

_LAYER = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(\w+(?:\.\w+)?)\.(weight|bias)")
_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_PROJECTIONS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
"""Queries, keys and values, which open_clip holds below one another in one tensor, in this order."""

_OTHERS = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
_TRANSPOSED = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
"""A layer of transformers, a matrix on the right in open_clip."""

_COUNTS = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")
"""0, 1, 2, …, which older versions of transformers stored."""


def is_transformers_clip(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors have the names of transformers' CLIP, whole or the image tower alone."""
    return "vision_model.pre_layrnorm.weight" in state


def open_clip_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under open_clip's names, in its shapes.

    Raises:
        UserError: there are tensors that transformers' CLIP has not, or a layer without all of queries, keys, values.
    """
    renamed: dict[str, Tensor] = {}
    projections: dict[str, dict[str, Tensor]] = {}
    unknown: list[str] = []
    for name, value in state.items():
        layer = _LAYER.fullmatch(name)
        if layer is not None:
            tower, number, part, kind = layer.groups()
            block = f"{'visual.' if tower == 'vision' else ''}transformer.resblocks.{number}"
            if part in _PROJECTIONS:
                projections.setdefault(f"{block}.attn.in_proj_{kind}", {})[part] = value
            elif part in _PARTS:
                renamed[f"{block}.{_PARTS[part]}.{kind}"] = value
            else:
                unknown.append(name)
        elif name in _OTHERS:
            renamed[_OTHERS[name]] = value
        elif name in _TRANSPOSED:
            renamed[_TRANSPOSED[name]] = value.T
        elif name not in _COUNTS:
            unknown.append(name)
    incomplete = [name for name, parts in projections.items() if len(parts) < len(_PROJECTIONS)]
    if unknown or incomplete:
        raise UserError(
            "these are not the tensors of transformers' CLIP. "
            + "; ".join([*(f"unknown: {name}" for name in unknown), *(f"not whole: {name}" for name in incomplete)])
        )
    return renamed | {name: torch.cat([parts[one] for one in _PROJECTIONS]) for name, parts in projections.items()}
