"""Decoded pixels of many images as one memory-mapped table; tiled crops and augmentation of whole batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tellsign.errors import UserError
from tellsign.system.devices import sent
from tellsign.system.parquet import read_rows


@dataclass(frozen=True)
class PixelTable:
    """Images of any size, one after another in ``pixels``; row ``i`` is the image ``ids[i]``.

    An image smaller than a crop is tiled: repeated whole from its top left corner until the crop fits, as
    MPFT §4.3 and LoL §4 say ("expanded by stitching repeated content"). The canvas is ``h ceil(S/h)`` by ``w
    ceil(S/w)``; it is never built, rows and columns are taken modulo h and w. No image is resized.
    """

    ids: tuple[str, ...]
    pixels: UInt8[Tensor, "total 3"]
    offsets: Int64[Tensor, " rows"]
    heights: Int64[Tensor, " rows"]
    widths: Int64[Tensor, " rows"]

    @classmethod
    def open(cls, folder: Path) -> PixelTable:
        """Memory-map a folder that the crops stage wrote (``pixels.npy``, ``images.parquet``)."""
        rows = read_rows(folder / "images.parquet")
        offsets, heights, widths = (
            torch.tensor(rows[name].to_pylist(), dtype=torch.int64) for name in ("offset", "height", "width")
        )
        # copy-on-write: read like "r", and torch accepts it without complaint
        pixels = torch.from_numpy(np.load(folder / "pixels.npy", mmap_mode="c"))
        return cls(tuple(rows["id"].to_pylist()), pixels, offsets, heights, widths)

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> PixelTable:
        """The table with all its pixels on a device; crops are then cut there, by sides that stay on the CPU."""
        return replace(self, pixels=self.pixels.to(device))

    def rows_of(self, ids: Sequence[str]) -> Int64[Tensor, " n"]:
        """Row numbers of image ids, on the CPU.

        Raises:
            UserError: an id is not in the table.
        """
        row = {name: i for i, name in enumerate(self.ids)}
        missing = [name for name in ids if name not in row]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(ids)} images are not among these {len(self)} crops, the first is "
                f"{missing[0]}. Crops and split differ; make the crops of this split."
            )
        return torch.tensor([row[name] for name in ids], dtype=torch.int64)

    def image(self, row: int) -> UInt8[Tensor, "3 h w"]:
        """One whole image."""
        offset, height, width = (int(x[row]) for x in (self.offsets, self.heights, self.widths))
        return self.pixels[offset : offset + height * width].view(height, width, 3).permute(2, 0, 1)

    def windows(
        self, rows: Int64[Tensor, " b"], tops: Int64[Tensor, " b"], lefts: Int64[Tensor, " b"], size: int
    ) -> UInt8[Tensor, "b 3 size size"]:
        """Crops of the tiled images with upper left corners ``(tops, lefts)``, cut where the pixels are.

        On a CPU one by one, elsewhere all at once: benchmarks/crops.py compares the two.
        """
        cut = self.slices if self.pixels.device.type == "cpu" else self.gathered
        return cut(rows, tops, lefts, size)

    def slices(
        self, rows: Int64[Tensor, " b"], tops: Int64[Tensor, " b"], lefts: Int64[Tensor, " b"], size: int
    ) -> UInt8[Tensor, "b 3 size size"]:
        """`windows` by a loop over the images."""
        crops = torch.empty((len(rows), 3, size, size), dtype=torch.uint8, device=self.pixels.device)
        for crop, row, top, left in zip(crops, rows.tolist(), tops.tolist(), lefts.tolist(), strict=True):
            image = self.image(row)
            if min(image.shape[1:]) < size:
                image = image.repeat(1, *(-(-size // side) for side in image.shape[1:]))
            crop.copy_(image[:, top : top + size, left : left + size])
        return crops

    def gathered(
        self, rows: Int64[Tensor, " b"], tops: Int64[Tensor, " b"], lefts: Int64[Tensor, " b"], size: int
    ) -> UInt8[Tensor, "b 3 size size"]:
        """`windows` by one gather for the batch, with indices modulo the images' sides."""
        facts = torch.stack([self.offsets[rows], self.heights[rows], self.widths[rows], tops, lefts])
        offsets, heights, widths, tops, lefts = sent(facts[:, :, None], self.pixels.device)
        steps = torch.arange(size, device=self.pixels.device)
        x = (lefts + steps) % widths
        index = (offsets + (tops + steps) % heights * widths)[:, :, None] + x[:, None, :]
        flat = self.pixels.index_select(0, index.flatten())
        return flat.view(len(rows), size, size, 3).permute(0, 3, 1, 2).contiguous()

    def slack(self, rows: Int64[Tensor, " b"], size: int) -> Int64[Tensor, "b 2"]:
        """How far a crop may move down and right within the tiled image, in pixels; on the CPU."""
        sides = torch.stack([self.heights, self.widths], dim=1)[rows]
        return sides * -(-size // sides) - size

    def random_crops(
        self, rows: Int64[Tensor, " b"], size: int, generator: torch.Generator
    ) -> UInt8[Tensor, "b 3 size size"]:
        """One crop an image, uniform over all positions (the last one included).

        Source: MPFT §4.3, LoL §4. Draws 2 b numbers from the CPU generator, whatever the sizes.
        """
        draws = torch.rand((len(rows), 2), generator=generator, dtype=torch.float64)
        tops, lefts = (draws * (self.slack(rows, size) + 1)).long().unbind(1)
        return self.windows(rows, tops, lefts, size)

    def center_crops(self, rows: Int64[Tensor, " b"], size: int) -> UInt8[Tensor, "b 3 size size"]:
        """The central crop of every (tiled) image; half a pixel is rounded to even, as torchvision does."""
        tops, lefts = (self.slack(rows, size) / 2).round().long().unbind(1)
        return self.windows(rows, tops, lefts, size)


def augment(
    x: UInt8[Tensor, "b 3 s s"], generator: torch.Generator, *, flip: bool, rotate: bool
) -> UInt8[Tensor, "b 3 s s"]:
    """Flip left to right with probability ½, then rotate by a random multiple of 90°; each image for itself.

    Draws from the CPU generator, b numbers for each that is on; works on any device and any dtype.

    Source: MPFT §4.3 and LoL §4 ("horizontal flipping and rotation"); that rotations are multiples of 90° is
    our reading: any other angle would interpolate, and these methods look at pixels that no interpolation has
    touched.

    Raises:
        ValueError: ``rotate`` and the images are not square.
    """
    if rotate and x.shape[-1] != x.shape[-2]:
        raise ValueError(f"rotation by 90° needs square images, got {tuple(x.shape)}")
    out = x.clone()
    if flip:
        chosen = sent((torch.rand(len(x), generator=generator) < 0.5).nonzero()[:, 0], x.device)
        out[chosen] = out[chosen].flip(-1)
    if rotate:
        quarters = torch.randint(0, 4, (len(x),), generator=generator)
        for k in (1, 2, 3):
            chosen = sent((quarters == k).nonzero()[:, 0], x.device)
            out[chosen] = out[chosen].rot90(k, (-2, -1))
    return out
