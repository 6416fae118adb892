"""Speed of the masks: the vectorised form against the loop of the paper, in one run.

python benchmarks/masks.py
"""

from __future__ import annotations

import math
from functools import partial

import torch
from timing import seconds

from tellsign.methods.masks import MASKS
from tellsign.schema.loading import plain


def slow_texture_mask(x: torch.Tensor, r: float, p: int) -> torch.Tensor:
    """MPFT Algorithm 1 as printed: one image and patch after the other (pixels of a patch at once)."""
    _, h, w = x.shape
    mask = torch.ones(1, h, w)
    corners = [(i, j) for i in range(0, h - p + 1, p) for j in range(0, w - p + 1, p)]
    scores = []
    for i, j in corners:
        g = x[:, i : i + p, j : j + p].mean(0)
        pairs = ((g[:, 1:], g[:, :-1]), (g[1:], g[:-1]), (g[1:, 1:], g[:-1, :-1]), (g[1:, :-1], g[:-1, 1:]))
        scores.append(sum((a - b).abs().sum() for a, b in pairs))
    order = torch.stack(scores).argsort(descending=True, stable=True)
    for k in order[: math.floor(len(corners) * r)].tolist():
        i, j = corners[k]
        mask[:, i : i + p, j : j + p] = 0
    return mask


def mask_seconds(name: str, x: torch.Tensor, g: torch.Generator, **given) -> float:
    """A mask's time with the settings given and the defaults of the rest."""
    options = plain(MASKS.settings()[name](name=name, ratio=(0.6, 0.8), **given))
    return seconds(partial(MASKS.load(options.pop("name")), x, g, **options), 20)


def compare(batch: int, side: int, patch: int) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, side, side, generator=g)
    fast = mask_seconds("texture_aware", x, g, patch_size=patch)
    slow = seconds(lambda: [slow_texture_mask(image, 0.7, patch) for image in x], 3)
    print(f"texture_aware {batch}x{side}px: {1e3 * fast:.2f} ms, {slow / fast:.0f} times as fast as the loop")
    for name in ("random_box", "cutout", "grid_mask", "random_erasing"):
        print(f"{name} {batch}x{side}px: {1e3 * mask_seconds(name, x, g):.2f} ms")


if __name__ == "__main__":
    torch.set_num_threads(1)
    compare(4, 224, 14)
    compare(16, 72, 12)
