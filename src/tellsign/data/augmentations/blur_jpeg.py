"""CNNDet's augmentation: blur and JPEG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from tellsign.schema.fields import Fraction, Interval, NonNegative, Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int64, UInt8
    from torch import Tensor

    from tellsign.data.pixels import PixelTable


class BlurJpeg(Settings):
    """CNNDet's augmentation (Wang et al. 2020), which UniFD keeps: blur, then JPEG, each by its own coin.

    Attributes:
        probability: Of each. CNNDet (0.1) and (0.5) differ in it alone; UniFD takes 0.5.
        sigma: Of the Gaussian blur in pixels, uniform.
        quality: Of the JPEG, uniform over whole numbers, both ends included.
    """

    name: Literal["blur_jpeg"]
    probability: Fraction = 0.5
    sigma: Interval[NonNegative[float]] = (0.0, 3.0)
    quality: Interval[Positive[int]] = (30, 100)


def blur_jpeg(
    table: PixelTable,
    batches: Sequence[Int64[Tensor, " b"]],
    size: int,
    generator: torch.Generator,
    workers: int,
    *,
    probability: float,
    sigma: tuple[float, float],
    quality: tuple[int, int],
) -> Iterator[UInt8[Tensor, "b 3 size size"]]:
    """Random crops of images that were blurred and compressed; all numbers of the epoch are drawn at once.

    Args:
        table: Decoded images, on the CPU.
        batches: Rows of the table.
        size: Side of the crops in pixels.
        generator: Source of every draw, on the CPU.
        workers: Threads.
        probability: See `BlurJpeg`.
        sigma: See there.
        quality: See there.

    Raises:
        UserError: a range that runs backwards, or a quality outside 1 to 100.

    Source:
        CNNDet (Wang et al. 2020).
    """
    from tellsign.data.augmentations.blur_jpeg_crops import augmented_crops, draw_blur_jpeg

    count = sum(map(len, batches))
    draws = draw_blur_jpeg(count, generator, probability=probability, sigma=sigma, quality=quality)
    return augmented_crops(table, batches, draws, size, workers=workers)
