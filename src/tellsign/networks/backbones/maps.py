"""Where the last spatial map of a network lies."""

from __future__ import annotations

from typing import Any


def map_layer_of(net: Any) -> str | None:
    """The layer of a timm network whose output is its last spatial map; None where timm does not say.

    A vision transformer with one class token gives the first norm of its last block, which the class token still
    reads. One without a class token, or with registers beside it, lays its patches out in another way than
    `Backbone.with_map` reads them.
    """
    prefix_tokens: int | None = getattr(net, "num_prefix_tokens", None)
    if prefix_tokens is not None:
        plain = prefix_tokens == 1 and hasattr(net, "blocks") and hasattr(net.blocks[-1], "norm1")
        return f"blocks.{len(net.blocks) - 1}.norm1" if plain else None
    stages = getattr(net, "feature_info", None)
    return stages[-1]["module"] if stages else None
