"""What CLIP is shown of a box: the cut, and CLIP's own preprocessing of its pixels."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from tellsign.data.images import center_window, resized

Pixels = UInt8[np.ndarray, "h w 3"]


def clip_view(image: Pixels, side: int) -> UInt8[Tensor, "3 side side"]:
    """The shorter side becomes ``side`` pixels (bicubic, anti-aliased), then the centre is cut out.

    Source: the preprocessing of openai/CLIP (``clip.py: _transform``), to the bit: torchvision's Resize rounds the
    longer side down, and its CenterCrop rounds half a pixel to even.
    """
    view = center_window(resized(image, mode="shorter", size=side, filter="bicubic"), side)
    return torch.from_numpy(view).permute(2, 0, 1)


def cut(image: Pixels, box: tuple[float, ...]) -> Pixels:
    """The pixels of a box (x0, y0, x1, y1), at least one a side."""
    height, width = image.shape[:2]
    left, top = min(int(box[0]), width - 1), min(int(box[1]), height - 1)
    right, bottom = max(left + 1, round(box[2])), max(top + 1, round(box[3]))
    return np.ascontiguousarray(image[top:bottom, left:right])
