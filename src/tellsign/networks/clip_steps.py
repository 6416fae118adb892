"""The steps of an open_clip vision transformer one by one, for detectors that put something between them."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from tellsign.errors import UserError


def checked(visual: nn.Module) -> Any:
    """An image tower whose steps these are.

    Raises:
        UserError: it is another network.
    """
    if not hasattr(visual, "transformer") or not hasattr(visual, "class_embedding"):
        raise UserError(
            "this detector works inside a CLIP of open_clip with a vision transformer; take clip-vit-l14, clip-vit-b16 "
            "or open_clip:NAME as backbone."
        )
    return visual


def embedded(visual: Any, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
    """The tokens that the first block reads, class token first."""
    return visual._embeds(x)


def attended(block: Any, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Tokens plus what a block's attention adds."""
    return x + block.attention(block.ln_1(x))


def perceived(block: Any, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Tokens plus what a block's perceptron adds."""
    return x + block.mlp(block.ln_2(x))


def projected(visual: Any, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n e"]:
    """Tokens normed and projected to the space that they share with texts."""
    return visual.ln_post(x) @ visual.proj
