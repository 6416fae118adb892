"""CLIP's attention with a layer each for queries, keys and values, as transformers holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
"""Layers of queries, keys and values, in the order in which CLIP's own code stacks them."""

_RENAMED = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding": "conv1",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm": "ln_pre",
    "post_layernorm": "ln_post",
    "encoder.layers": "transformer.resblocks",
    "self_attn": "attn",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
"""Parts of names: transformers' → open_clip's, once its attention is split."""


class Split(nn.Module):
    """A layer each for queries, keys and values.

    Args:
        weight: The three layers' weights below one another.
        bias: Their biases.
    """

    def __init__(self, weight: Float[Tensor, "d3 d"], bias: Float[Tensor, " d3"]) -> None:
        super().__init__()
        for name, rows, offsets in zip(PROJECTIONS, weight.chunk(3), bias.chunk(3), strict=True):
            layer = nn.Linear(rows.shape[1], rows.shape[0])
            layer.weight, layer.bias = nn.Parameter(rows.detach().clone()), nn.Parameter(offsets.detach().clone())
            self.add_module(name, layer)

    def beside(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d3"]:
        """Queries, keys and values of the same tokens side by side."""
        return torch.cat([self.get_submodule(name)(x) for name in PROJECTIONS], dim=-1)


class SplitProjections(Split):
    """Stands in for one layer that gives queries, keys and values side by side."""

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d3"]:
        """See `Split.beside`."""
        return self.beside(x)


class SplitAttention(Split):
    """Stands in for a block's `torch.nn.MultiheadAttention` and gives the same."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        assert attention.in_proj_weight is not None and attention.in_proj_bias is not None
        super().__init__(attention.in_proj_weight, attention.in_proj_bias)
        self.heads, self.out_proj = attention.num_heads, attention.out_proj

    def forward(self, x: Float[Tensor, "b n d"], *_: object, **__: object) -> tuple[Float[Tensor, "b n d"], None]:
        """Attention of tokens to one another; what else the block says does not matter for an image."""
        query, key, value = self.beside(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        read = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(read.transpose(1, 2).flatten(2)), None


def split_attention(blocks: Iterable[nn.Module]) -> None:
    """Split the attention of every block of a CLIP's image tower, open_clip's or the demo's."""
    for block in blocks:
        if hasattr(block, "attn"):
            block.add_module("attn", SplitAttention(block.get_submodule("attn")))  # pyright: ignore[reportArgumentType]
        else:
            layer = block.get_submodule("to_qkv")
            block.add_module("to_qkv", SplitProjections(layer.get_parameter("weight"), layer.get_parameter("bias")))


def change_layers(blocks: Iterable[nn.Module], change: Callable[[nn.Linear], nn.Module], *, outputs: bool) -> None:
    """Put other layers in the place of those of a split attention.

    Args:
        blocks: Their attention is split.
        change: An old layer to a new one.
        outputs: Whether the layer after the attention changes as well.
    """
    for holder, name in _layers(blocks):
        layer = holder.get_submodule(name)
        if isinstance(layer, nn.Linear) and (outputs or name in PROJECTIONS):
            holder.add_module(name, change(layer))


def _layers(blocks: Iterable[nn.Module]) -> Iterator[tuple[nn.Module, str]]:
    """Each layer of an attention by what holds it and its name."""
    for block in blocks:
        demo = hasattr(block, "to_qkv")
        holder = block.get_submodule("to_qkv" if demo else "attn")
        yield from ((holder, name) for name in PROJECTIONS)
        yield (block, "to_out") if demo else (holder, "out_proj")


def open_clip_names(state: Mapping[str, Tensor], transformers: str, own: str) -> dict[str, Tensor]:
    """Tensors of transformers' image tower under the names of open_clip's with split attention; others as they are.

    Args:
        state: Tensors by name.
        transformers: What the tower's names begin with.
        own: What they begin with then.
    """
    renamed = {}
    for name, value in state.items():
        if name.startswith(transformers):
            name = name.removeprefix(transformers)
            for theirs, ours in _RENAMED.items():
                name = name.replace(theirs, ours)
            name = own + name
        renamed[name] = value
    return renamed
