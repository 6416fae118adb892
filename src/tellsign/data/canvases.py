"""Central crops of whole images as the public code of several detectors cuts them: on a black or a tiled canvas."""

from __future__ import annotations

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tellsign.data.pixels import PixelTable


def _begin(length: int, size: int, down: bool) -> int:
    """Where the central ``size`` pixels of ``length`` begin; negative where they reach beyond both ends."""
    if length < size:
        return -((size - length) // 2)
    return (length - size) // 2 if down else round((length - size) / 2)


def on_black(
    table: PixelTable, rows: Int64[Tensor, " b"], size: int, *, down: bool = False
) -> UInt8[Tensor, "b 3 size size"]:
    """The central crop of every image; beyond a smaller one's borders all is black.

    An odd number of missing pixels leaves one more on the right and below.

    Args:
        table: Whole images.
        rows: Which of them.
        size: Side of the crops.
        down: Half a pixel is rounded down, as albumentations does, instead of to even, as torchvision does.
    """
    crops = torch.zeros((len(rows), 3, size, size), dtype=torch.uint8, device=table.pixels.device)
    for crop, row in zip(crops, rows.tolist(), strict=True):
        image = table.image(row)
        top, left = (_begin(length, size, down) for length in image.shape[1:])
        part = image[:, max(top, 0) : max(top, 0) + size, max(left, 0) : max(left, 0) + size]
        y, x = max(-top, 0), max(-left, 0)
        crop[:, y : y + part.shape[1], x : x + part.shape[2]] = part
    return crops


def on_tiles(table: PixelTable, rows: Int64[Tensor, " b"], size: int, side: int) -> UInt8[Tensor, "b 3 size size"]:
    """The central crop of every image, which is repeated whole until it has ``side`` pixels both ways.

    With ``side`` equal to ``size`` it is `PixelTable.center_crops`.

    Args:
        table: Whole images.
        rows: Which of them.
        size: Side of the crops.
        side: At least ``size``.
    """
    sides = torch.stack([table.heights, table.widths], dim=1)[rows].cpu()
    canvas = sides * -(-side // sides)
    begins = ((canvas - size) / 2).round().long() % sides
    crops = []
    for row, (top, left) in zip(rows.tolist(), begins.tolist(), strict=True):
        image = table.image(row)
        height, width = image.shape[1:]
        image = image.repeat(1, -(-(top + size) // height), -(-(left + size) // width))
        crops.append(image[:, top : top + size, left : left + size])
    return torch.stack(crops)


def ten_crops(image: UInt8[Tensor, "3 h w"], size: int) -> UInt8[Tensor, "10 3 size size"]:
    """Upper left, upper right, lower left and lower right corner, centre, and the same of the mirrored image.

    Args:
        image: No side is shorter than ``size``.
        size: Side of the crops.

    Source: torchvision's TenCrop.
    """
    height, width = image.shape[1:]
    bottom, right = height - size, width - size
    centre = _begin(height, size, False), _begin(width, size, False)
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), centre]
    both = (image, image.flip(-1))
    return torch.stack([one[:, top : top + size, left : left + size] for one in both for top, left in places])
