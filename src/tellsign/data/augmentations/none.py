"""No augmentation: crops of the images as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int64, UInt8
    from torch import Tensor

    from tellsign.data.pixels import PixelTable


class NoAugment(Settings):
    """Images are blurred and compressed by nobody."""

    name: Literal["none"] = "none"


def none(
    table: PixelTable, batches: Sequence[Int64[Tensor, " b"]], size: int, generator: torch.Generator, workers: int
) -> Iterator[UInt8[Tensor, "b 3 size size"]]:
    """Random crops; a batch's are drawn when its turn comes.

    Args:
        table: Decoded images.
        batches: Rows of the table.
        size: Side of the crops in pixels.
        generator: Draws their places, on the CPU.
        workers: Not used.
    """
    return (table.random_crops(rows, size, generator) for rows in batches)
