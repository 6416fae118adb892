"""No mask: direct fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor


class NoMask(Settings):
    """Nothing is masked."""

    name: Literal["none"] = "none"


def none(x: Float[Tensor, "b c h w"], generator: torch.Generator) -> Float[Tensor, "b 1 h w"]:
    """Hide nothing and draw nothing: direct fine-tuning, the papers' base model."""
    return x.new_ones(x.shape[0], 1, *x.shape[-2:])
