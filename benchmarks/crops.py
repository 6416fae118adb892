"""Random crops from whole images: a loop over the images of a batch, against one gather; prints the ratio.

Both cut the same windows of the same table in one process. Run: OMP_NUM_THREADS=1 python benchmarks/crops.py [cuda]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

from tellsign.data.pixels import PixelTable
from tellsign.system.devices import threads

Windows = tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]
CASES = {"demo, 16 × 72 px": (16, 72), "MPFT, 4 × 224 px": (4, 224), "rescale, 128 × 128 px": (128, 128)}


def table(count: int, device: str) -> PixelTable:
    generator = torch.Generator().manual_seed(0)
    heights, widths = torch.randint(100, 500, (2, count), generator=generator)
    offsets = torch.cumsum(heights * widths, 0) - heights * widths
    total = int((heights * widths).sum())
    pixels = torch.randint(0, 256, (total, 3), dtype=torch.uint8, generator=generator)
    ids = tuple(str(i) for i in range(count))
    return PixelTable(ids, pixels, offsets, heights, widths).to(torch.device(device))


def seconds(
    work: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor],
    windows: Windows,
    repeats: int = 30,
) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work(*windows)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    torch.set_num_threads(threads())
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    images = table(200, device)
    generator = torch.Generator().manual_seed(1)
    for name, (batch, size) in CASES.items():
        rows = torch.randint(0, len(images), (batch,), generator=generator)
        tops, lefts = (torch.rand(batch, 2) * (images.slack(rows, size) + 1)).long().unbind(1)
        windows = (rows, tops, lefts, size)
        assert torch.equal(images.slices(*windows), images.gathered(*windows))
        single, whole = (seconds(work, windows) for work in (images.slices, images.gathered))
        print(f"{name} on {device}: loop / gather = {single / whole:.2f} (gather {whole * 1e3:.2f} ms)")


if __name__ == "__main__":
    main()
