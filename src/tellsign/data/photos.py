"""Whole photographs by number: views of a packed file, or files that are decoded while a training computes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tellsign.data.images import decode, read_checked
from tellsign.data.pixels import PixelTable
from tellsign.errors import UserError, choose
from tellsign.system.parquet import read_rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photos:
    """Photographs whose sizes are known and whose pixels are there, or come when they are asked for.

    Attributes:
        sizes: Height and width of each.
        read: Number to pixels; may be called from several threads.
        ahead: Whether reading takes so long that threads should do it before the pixels are needed.
    """

    sizes: Int64[Tensor, "n 2"]
    read: Callable[[int], UInt8[Tensor, "3 h w"]]
    ahead: bool

    def __len__(self) -> int:
        return len(self.sizes)

    def fitting(self, side: int, too_small: str) -> Photos:
        """The photographs with sides from ``side`` on.

        Args:
            side: The shortest side allowed.
            too_small: ``drop`` leaves smaller ones out, ``fail`` refuses them.

        Raises:
            UserError: some are too small and ``too_small`` is ``fail``, or all are.
        """
        allowed = choose({"fail": False, "drop": True}, too_small, "treatment of small photographs")
        kept = (self.sizes.amin(1) >= side).nonzero()[:, 0]
        missing = len(self) - len(kept)
        if not missing:
            return self
        height, width = self.sizes[int(self.sizes.amin(1).argmin())].tolist()
        said = f"{missing} of {len(self)} photographs have a side below {side} px, the smallest is {width}x{height}"
        if not allowed or not len(kept):
            raise UserError(
                f"{said}. These patches and ratios need {side} or more: take smaller patches, or leave such "
                "photographs out by too_small: drop."
            )
        log.warning("%s; they are left out", said)
        return self.part(kept)

    def part(self, numbers: Int64[Tensor, " m"]) -> Photos:
        """The photographs of these numbers, which are theirs no longer: the first has number 0."""
        kept = numbers.tolist()
        return Photos(self.sizes[numbers], lambda number: self.read(kept[number]), self.ahead)

    def parted(self, count: int, seed: int) -> tuple[Photos, Photos]:
        """``count`` photographs drawn by ``seed``, and the rest in their order; of 0 the rest is all."""
        if count == 0:
            return self.part(torch.arange(0)), self
        drawn = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count]
        rest = torch.ones(len(self), dtype=torch.bool)
        rest[drawn] = False
        return self.part(drawn), self.part(rest.nonzero()[:, 0])


def packed(crops: Path, device: torch.device) -> Photos:
    """Photographs of a folder that the crops stage wrote; on a GPU all of them are moved there."""
    table = PixelTable.open(crops)
    sizes = torch.stack([table.heights, table.widths], 1)
    if device.type == "cuda":
        table = table.to(device)  # patches are then cut there
    return Photos(sizes, table.image, ahead=False)


def on_the_fly(split: Path, roots: Mapping[str, Path]) -> Photos:
    """Photographs of a split, each read from its file, checked and decoded whenever it is asked for.

    Numbers, sizes and pixels are those of `packed`: each image id once, at its last place in the split.
    """
    rows = read_rows(split)
    ids = rows["id"].to_pylist()
    last = {image: place for place, image in enumerate(ids)}  # keys by first place, values the last one
    first = {image: place for place, image in reversed(list(enumerate(ids)))}
    places = [first[ids[place]] for place in sorted(last.values())]
    folders, paths = rows["root"], rows["path"]
    height, width = (torch.tensor(rows[name].to_numpy()).long() for name in ("height", "width"))
    sizes = torch.stack([height, width], 1)[torch.tensor(places, dtype=torch.int64)]

    def read(number: int) -> UInt8[Tensor, "3 h w"]:
        place = places[number]
        path = Path(roots[folders[place].as_py()]) / paths[place].as_py()
        return torch.tensor(decode(read_checked(path, ids[place])).pixels).permute(2, 0, 1)

    return Photos(sizes, read, ahead=True)
