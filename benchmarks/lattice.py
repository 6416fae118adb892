"""Speed of the contrastive batches: windows by gather against rescaling whole images, in one run.

python benchmarks/lattice.py
"""

from __future__ import annotations

import torch
from timing import seconds
from torch.nn import functional as F

from tellsign.methods.lattice import STRIDE_16
from tellsign.methods.patches import sample_batch


def slow_batch(
    images: list[torch.Tensor], g: torch.Generator, n_phases: int, n_images: int, n_patches: int, p: int
) -> torch.Tensor:
    """§4.2 read literally: rescale each image by each ratio as a whole, then cut the patches one by one."""
    patches = []
    for k in torch.randperm(len(STRIDE_16), generator=g)[:4].tolist():
        a, b = STRIDE_16[k].numerator, STRIDE_16[k].denominator
        phases = torch.randperm(a * a, generator=g)[:n_phases].tolist()
        for i in torch.randperm(len(images), generator=g)[:n_images].tolist():
            h, w = (n // b * b for n in images[i].shape[1:])
            x = images[i][None, :, :h, :w].float()
            z = F.interpolate(x, size=(h * a // b, w * a // b), mode="bilinear", align_corners=False)[0].round_()
            for phase in phases:
                for _ in range(n_patches):
                    y, x0 = (
                        s + a * int(torch.randint((n - p - s) // a + 1, (), generator=g))
                        for s, n in zip((phase // a, phase % a), z.shape[1:], strict=True)
                    )
                    patches.append(z[:, y : y + p, x0 : x0 + p])
    return torch.stack(patches).to(torch.uint8)


def compare(size: tuple[int, int], p: int, n_images: int) -> None:
    g = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=g) for _ in range(20)]
    counts = {"n_ratios": 4, "n_phases": 4, "n_images": n_images, "n_patches": 2}
    fast = seconds(lambda: sample_batch(images, g, ratios=STRIDE_16, **counts, patch_size=p, quantise=True), 20)
    slow = seconds(lambda: slow_batch(images, g, 4, n_images, 2, p), 5)
    what = f"{32 * n_images} patches of {p} px from {size[1]}x{size[0]}"
    print(f"{what}: {1e3 * fast:.1f} ms, {slow / fast:.1f} times as fast as rescaling whole images")


if __name__ == "__main__":
    torch.set_num_threads(1)
    compare((256, 256), 64, 2)
    compare((400, 500), 128, 4)
    compare((1200, 1600), 128, 4)
