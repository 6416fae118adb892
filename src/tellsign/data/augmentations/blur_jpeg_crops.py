"""Crops of blurred and compressed images, image by image in threads.

All numbers of an epoch are drawn at once from the CPU generator, so neither the threads nor how far they run ahead of
the training changes anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from tellsign.data.images import in_order, recompress
from tellsign.data.pixels import PixelTable
from tellsign.errors import UserError

Pixels = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Draws:
    """What is done to each image of an epoch.

    Attributes:
        sigma: Deviation of the blur in pixels; 0 where the image is not blurred.
        quality: JPEG quality; 0 where the image is not compressed.
        place: Where the crop lies within its slack, down and right, in [0, 1).
    """

    sigma: Float64[Tensor, " n"]
    quality: Int64[Tensor, " n"]
    place: Float64[Tensor, "n 2"]


def draw_blur_jpeg(
    count: int,
    generator: torch.Generator,
    *,
    probability: float,
    sigma: tuple[float, float],
    quality: tuple[int, int],
) -> Draws:
    """Draw blur, JPEG and place of the crop for ``count`` images: six numbers each.

    Args:
        count: Number of images.
        generator: Source of the draws, on the CPU.
        probability: Of the blur, and independently of the JPEG.
        sigma: Range of the blur's deviation in pixels, uniform.
        quality: Range of the JPEG quality, uniform over whole numbers, both ends included.

    Raises:
        UserError: a range that runs backwards, or a quality outside 1 to 100.

    Source:
        CNNDet (Wang et al. 2020): σ ~ U[0, 3], quality ~ U{30, ..., 100}, with 50 % or 10 % probability each.
    """
    if not 0 <= sigma[0] <= sigma[1]:
        raise UserError(f"augment.sigma is {list(sigma)}; it must be two numbers from 0 on, the smaller first.")
    if not 1 <= quality[0] <= quality[1] <= 100:
        raise UserError(f"augment.quality is {list(quality)}; it must be two numbers of 1 to 100, the smaller first.")
    u = torch.rand((count, 6), generator=generator, dtype=torch.float64)
    blurred, compressed = u[:, 0] < probability, u[:, 2] < probability
    levels = quality[1] - quality[0] + 1
    sigmas = torch.where(blurred, sigma[0] + (sigma[1] - sigma[0]) * u[:, 1], 0.0)
    qualities = torch.where(compressed, quality[0] + (u[:, 3] * levels).long(), 0)
    return Draws(sigmas, qualities, u[:, 4:])


def blur(image: Pixels, sigma: float) -> Pixels:
    """Gaussian blur, cut at 4 σ, borders mirrored with their pixel repeated.

    The fraction is cut off after each of the two directions, so that a blurred image is about one level in 255 darker.

    Source:
        CNNDet's code: scipy's filter with these defaults, whose result goes into the image of 8 bits itself.
    """
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, sigma=(sigma, sigma, 0), output=np.uint8)


def blur_jpeg(image: Pixels, sigma: float, quality: int) -> Pixels:
    """Blur (``sigma`` > 0), then compress (``quality`` > 0), in this order, as CNNDet.

    CNNDet's code takes OpenCV's or Pillow's encoder by a coin; both are libjpeg with 4:2:0 chroma, and Pillow's is
    taken here.
    """
    if sigma > 0:
        image = blur(image, sigma)
    return recompress(image, quality) if quality > 0 else image


def augmented_crops(
    table: PixelTable,
    batches: Sequence[Int64[Tensor, " b"]],
    draws: Draws,
    size: int,
    *,
    workers: int,
    ahead: int = 4,
) -> Iterator[UInt8[Tensor, "b 3 size size"]]:
    """Crops of whole images that were blurred and compressed, batch by batch.

    The whole image is compressed and then cropped, so that the 8 × 8 blocks lie anywhere in the crop, as in CNNDet's
    pipeline; the other way round they would start in its corner. An image smaller than the crop is tiled after.

    Args:
        table: Decoded images, on the CPU.
        batches: Rows of the table.
        draws: For each image of all batches, in their order.
        size: Side of the crops.
        workers: Threads; Pillow and scipy work outside the interpreter's lock.
        ahead: Batches that are made while others are trained on.
    """
    rows = torch.cat(list(batches))
    offsets = (draws.place * (table.slack(rows, size) + 1)).long().tolist()
    jobs = list(zip(rows.tolist(), offsets, draws.sigma.tolist(), draws.quality.tolist(), strict=True))

    def make(job: tuple[int, list[int], float, int]) -> UInt8[np.ndarray, "3 size size"]:
        row, (top, left), sigma, quality = job
        image = blur_jpeg(table.image(row).permute(1, 2, 0).numpy(), sigma, quality)
        height, width = image.shape[:2]
        if top + size > height or left + size > width:  # tiled: to the left and above nothing is needed
            image = np.tile(image, (-(-(top + size) // height), -(-(left + size) // width), 1))
        return np.ascontiguousarray(image[top : top + size, left : left + size].transpose(2, 0, 1))

    crops = in_order(make, jobs, workers, waiting=ahead * max(map(len, batches), default=0))
    for batch in batches:
        yield torch.from_numpy(np.stack([next(crops) for _ in range(len(batch))]))
