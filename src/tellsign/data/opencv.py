"""What OpenCV does to 8-bit images, to the bit: detectors whose public code calls it see such pixels.

OpenCV computes with whole numbers. Its results therefore differ from those of an exact formula in about every eighth
pixel, by one level.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64, UInt8

ONE = 2048
"""A weight of 1 in OpenCV's whole numbers."""


def _places(length: int, target: int) -> tuple[Int64[np.ndarray, " t"], Float32[np.ndarray, " t"]]:
    """The pixel before each new pixel's centre, and how far behind it the centre lies; centres are at half integers."""
    position = ((np.arange(target) + 0.5) * (1 / (target / length)) - 0.5).astype(np.float32)
    before = np.floor(position)
    return before.astype(np.int64), position - before


def _weights(behind: Float32[np.ndarray, " t"]) -> tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " t"]]:
    """Weights of the pixel before and of the one after, out of `ONE`."""
    first, second = (np.rint(weight * ONE).astype(np.int64) for weight in (np.float32(1) - behind, behind))
    return first, second


def resize_bilinear(image: UInt8[np.ndarray, "h w c"], height: int, width: int) -> UInt8[np.ndarray, "height width c"]:
    """Resize by INTER_LINEAR: between the two nearest pixels along each axis, whatever the ratio.

    An image that gets smaller is not smoothed first, so that it aliases. An image that is halved along both axes is
    averaged over cells of 2 × 2 pixels, as OpenCV does for speed.

    Source:
        OpenCV's documentation of ``resize``; rounding as in version 4 on x86.
    """
    h, w, channels = image.shape
    values = image.astype(np.int64)
    if (h, w) == (2 * height, 2 * width):
        return ((values.reshape(height, 2, width, 2, channels).sum((1, 3)) + 2) >> 2).astype(np.uint8)
    left, behind = _places(w, width)
    outside = (left < 0) | (left >= w - 1)
    left, behind = left.clip(0, w - 1), np.where(outside, np.float32(0), behind)
    first, second = _weights(behind)
    rows = values[:, left] * first[:, None] + values[:, (left + 1).clip(0, w - 1)] * second[:, None]
    top, behind = _places(h, height)
    upper, lower = (
        (weight[:, None, None] * (rows[row.clip(0, h - 1)] >> 4)) >> 16
        for weight, row in zip(_weights(behind), (top, top + 1), strict=True)
    )
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def grey(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Grey as a colour PNG that is read as grey: a weighted mean whose fraction is cut off, not rounded.

    OpenCV's own conversion of colours rounds; half of all pixels differ by a level. A pixel whose channels are equal
    keeps its level.

    Source:
        libpng's conversion with the weights 0.299 and 0.587 that OpenCV asks for, in 15 bits.
    """
    mean = (image.astype(np.int64) @ np.array([9797, 19234, 3737])) >> 15
    return mean.astype(np.uint8)
