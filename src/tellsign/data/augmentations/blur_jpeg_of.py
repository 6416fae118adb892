"""RINE's augmentation: blur and JPEG of a few qualities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from tellsign.schema.fields import Fraction, Interval, NonNegative, Several
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int64, UInt8
    from torch import Tensor

    from tellsign.data.pixels import PixelTable


class BlurJpegOf(Settings):
    """Blur, then JPEG of one of a few qualities, each by its own coin (public code of RINE).

    Attributes:
        probability: Of each.
        sigma: Of the Gaussian blur in pixels, uniform.
        qualities: Of the JPEG, each as likely as the others.
    """

    name: Literal["blur_jpeg_of"]
    probability: Fraction = 0.5
    sigma: Interval[NonNegative[float]] = (0.0, 3.0)
    qualities: Several[int] = (30, 100)

    @model_validator(mode="after")
    def _qualities(self) -> Self:
        if not self.qualities or not all(1 <= quality <= 100 for quality in self.qualities):
            raise ValueError(f"qualities are {list(self.qualities)}; give one or more numbers of 1 to 100.")
        return self


def blur_jpeg_of(
    table: PixelTable,
    batches: Sequence[Int64[Tensor, " b"]],
    size: int,
    generator: torch.Generator,
    workers: int,
    *,
    probability: float,
    sigma: tuple[float, float],
    qualities: Sequence[int],
) -> Iterator[UInt8[Tensor, "b 3 size size"]]:
    """Random crops of images that were blurred and compressed; all numbers of the epoch are drawn at once.

    Args:
        table: Decoded images, on the CPU.
        batches: Rows of the table.
        size: Side of the crops in pixels.
        generator: Source of every draw, on the CPU.
        workers: Threads.
        probability: See `BlurJpegOf`.
        sigma: See there.
        qualities: See there.
    """
    import torch

    from tellsign.data.augmentations.blur_jpeg_crops import Draws, augmented_crops, draw_blur_jpeg

    count = sum(map(len, batches))
    drawn = draw_blur_jpeg(count, generator, probability=probability, sigma=sigma, quality=(1, len(qualities)))
    levels = torch.tensor([0, *qualities])[drawn.quality]  # 0 stays: not compressed
    return augmented_crops(table, batches, Draws(drawn.sigma, levels, drawn.place), size, workers=workers)
