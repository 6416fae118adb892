"""Masks of one box an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tellsign.system.devices import sent

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64
    from torch import Tensor


def boxes(
    x: Tensor,
    top: Int64[Tensor, " b"],
    left: Int64[Tensor, " b"],
    height: Int64[Tensor, " b"],
    width: Int64[Tensor, " b"],
) -> Float[Tensor, "b 1 h w"]:
    """Zeros inside one box an image (clipped to the image), ones elsewhere."""
    import torch

    h, w = x.shape[-2:]
    top, left, height, width = sent(torch.stack([top, left, height, width]), x.device)[..., None]
    row, column = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    inside_rows: Bool[Tensor, "b h"] = (row >= top) & (row < top + height)
    inside_columns: Bool[Tensor, "b w"] = (column >= left) & (column < left + width)
    return (~(inside_rows[:, None, :, None] & inside_columns[:, None, None, :])).to(x.dtype)
