"""Decoding one file: ours against Pillow's own decoding and against torchvision's, CPU seconds as ratios in one run.

`decode` gives pixels for crops, `inspect` only checks all of a file for an index. Pictures are made: noise under a
smooth gradient, which a JPEG of quality 90 keeps at about two bits a pixel. torchvision's pixels must be ours. Run:
OMP_NUM_THREADS=1 python benchmarks/decode.py
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from timing import seconds
from torchvision.io import ImageReadMode, decode_image

from tellsign.data.formats import FORMATS
from tellsign.data.images import decode, inspect

SIDES, FILES, REPEATS = (256, 500, 1024), 10, 5


def made(side: int, format: str, seed: int) -> bytes:
    """A file."""
    slope = np.linspace(40, 200, side)[None, :, None]
    noise = np.random.default_rng(seed).normal(0, 8, (side, side, 3))
    stream = io.BytesIO()
    Image.fromarray((slope + noise).clip(0, 255).astype(np.uint8)).save(stream, format, quality=90)
    return stream.getvalue()


def loaded(data: bytes) -> None:
    """Decode inside Pillow, without an array."""
    Image.open(io.BytesIO(data), formats=FORMATS).load()


def with_torchvision(data: bytes) -> np.ndarray:
    """Pixels by torchvision."""
    stored = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return decode_image(stored, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()


def each(way: Callable[[bytes], object], files: list[bytes]) -> None:
    """Decode every file."""
    for data in files:
        way(data)


def main() -> None:
    torch.set_num_threads(1)
    print("| file | Pillow alone, ms | decode / Pillow | inspect / Pillow | decode / torchvision |")
    print("|---|---:|---:|---:|---:|")
    for format in ("JPEG", "PNG"):
        for side in SIDES:
            files = [made(side, format, seed) for seed in range(FILES)]
            assert all(np.array_equal(decode(data).pixels, with_torchvision(data)) for data in files)
            ways = (loaded, decode, inspect, with_torchvision)
            base, ours, checked, other = (seconds(partial(each, way, files), REPEATS) / FILES for way in ways)
            cells = f"{base * 1e3:.2f} | {ours / base:.2f} | {checked / base:.2f} | {ours / other:.2f}"
            print(f"| {format}, {side} × {side} | {cells} |")


if __name__ == "__main__":
    main()
