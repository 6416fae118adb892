"""What CLIP is shown of a box: the cut, and CLIP's own preprocessing of its pixels."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

Pixels = UInt8[np.ndarray, "h w 3"]


def clip_view(image: Pixels, side: int) -> UInt8[Tensor, "3 side side"]:
    """The shorter side becomes ``side`` pixels (bicubic, anti-aliased), then the centre is cut out.

    Source: the preprocessing of openai/CLIP (``clip.py: _transform``).
    """
    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    resized = np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
    return torch.from_numpy(resized[top : top + side, left : left + side].copy()).permute(2, 0, 1)


def cut(image: Pixels, box: tuple[float, ...]) -> Pixels:
    """The pixels of a box (x0, y0, x1, y1), at least one a side."""
    height, width = image.shape[:2]
    left, top = min(int(box[0]), width - 1), min(int(box[1]), height - 1)
    right, bottom = max(left + 1, round(box[2])), max(top + 1, round(box[3]))
    return np.ascontiguousarray(image[top:bottom, left:right])
