"""CNNDet's blur and JPEG (probability 0.1 and 0.5) on 256 px images, cropped to 224: images a second by threads.

Every number of threads makes the same crops. A ResNet-50 takes some 400 (fp32) to 3,000 (bf16) images a second on a
data-centre GPU; the threads printed here must reach that, or the GPU waits.
Run: OMP_NUM_THREADS=1 python benchmarks/augment.py [THREADS ...]
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import torch
from PIL import Image

from tellsign.data.augmentations.blur_jpeg_crops import augmented_crops, blur, draw_blur_jpeg
from tellsign.data.images import recompress
from tellsign.data.pixels import PixelTable

SIDE, CROP, BATCH, BATCHES, COUNT = 256, 224, 64, 6, 64


def photo(seed: int) -> np.ndarray:
    """Smooth colours with a little noise: compresses as a photograph does."""
    draws = np.random.default_rng(seed)
    coarse = Image.fromarray(draws.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
    return np.clip(smooth + draws.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def table() -> PixelTable:
    pixels = torch.from_numpy(np.concatenate([photo(i).reshape(-1, 3) for i in range(COUNT)]))
    sides = torch.full((COUNT,), SIDE)
    return PixelTable(tuple(map(str, range(COUNT))), pixels, torch.arange(COUNT) * SIDE**2, sides, sides)


def milliseconds(work, repeats: int = 20) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def main() -> None:
    torch.set_num_threads(1)
    counts = [int(text) for text in sys.argv[1:]] or sorted({1, 2, len(os.sched_getaffinity(0))})
    image = photo(0)
    for sigma in (0.5, 1.5, 3.0):
        print(f"blur σ {sigma}: {milliseconds(lambda s=sigma: blur(image, s)):.2f} ms")
    for quality in (30, 65, 100):
        print(f"JPEG quality {quality}: {milliseconds(lambda q=quality: recompress(image, q)):.2f} ms")
    held = table()
    rows = torch.randint(0, COUNT, (BATCH * BATCHES,), generator=torch.Generator().manual_seed(1))
    for probability in (0.1, 0.5):
        draws = draw_blur_jpeg(
            len(rows), torch.Generator().manual_seed(2), probability=probability, sigma=(0.0, 3.0), quality=(30, 100)
        )
        first = made = torch.empty(0)
        for workers in counts:
            best = 0.0
            for _ in range(2):
                start = time.perf_counter()
                made = torch.cat(list(augmented_crops(held, rows.split(BATCH), draws, CROP, workers=workers)))
                best = max(best, len(rows) / (time.perf_counter() - start))
            first = first if len(first) else made
            assert torch.equal(first, made)
            print(f"probability {probability}, {workers} thread(s): {best:.0f} images a second")


if __name__ == "__main__":
    main()
