"""Objects embedded a second: the boxes of many images in common batches, against image by image.

CLIP ViT-B/16 with random weights, 32 photographs of 320 × 240 with three boxes each; CUDA where there is one. On a
CPU the arithmetic takes nearly all of the time, and the batches save little.

python benchmarks/embed.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from tellsign.data.pixels import PixelTable
from tellsign.data.views import clip_view, cut
from tellsign.networks.embedding import Embedder, embed_pixels

IMAGES, HEIGHT, WIDTH = 32, 240, 320


def rate(work: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    g = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES * HEIGHT * WIDTH, 3), dtype=torch.uint8, generator=g)
    rows = torch.arange(IMAGES)
    sizes = torch.full((IMAGES,), HEIGHT), torch.full((IMAGES,), WIDTH)
    table = PixelTable(tuple(map(str, rows.tolist())), pixels, rows * HEIGHT * WIDTH, *sizes)
    boxes = [(10.0, 20.0, 150.0, 200.0), (100.0, 5.0, 300.0, 120.0), (40.0, 40.0, 90.0, 230.0)]
    objects = [(row, box) for row in rows.tolist() for box in boxes]
    with TemporaryDirectory() as folder:
        settings = {"clip": {"name": "clip-vit-b16", "weights": "none"}, "made": {}}
        embedder = Embedder(settings, Path(folder), device, batch_size=96, shard_size=4096)

        def image_by_image() -> None:
            for row in rows.tolist():
                image = table.image(row).permute(1, 2, 0).numpy()
                views = [clip_view(cut(np.ascontiguousarray(image), box), embedder.side) for box in boxes]
                embed_pixels(embedder.clip, torch.stack(views), len(boxes))

        embed_pixels(embedder.clip, torch.zeros(3, 3, 224, 224, dtype=torch.uint8), 3)
        slow = rate(image_by_image, len(objects))
        fast = rate(lambda: embedder.objects(table, objects), len(objects))
    print(f"{device.type}: {slow:.1f} objects/s image by image, {fast:.1f} in common batches: {fast / slow:.2f} times")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
