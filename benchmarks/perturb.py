"""Speed of the perturbations: the cubic resize against a loop, and the time of each, in one run.

python benchmarks/perturb.py
"""

from __future__ import annotations

import math

import numpy as np
from timing import seconds

from tellsign.data.perturbations import PERTURBATIONS, filters


def slow_cubic(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same resize, one row and one column of the result after the other."""

    def weights(t: float) -> np.ndarray:
        a, d = filters.CUBIC, np.abs(t - np.arange(-1, 3))
        near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
        return np.where(d <= 1, near, far)

    def along(x: np.ndarray, target: int) -> np.ndarray:
        n, lines = len(x), []
        for i in range(target):
            position = (i + 0.5) * n / target - 0.5
            base = math.floor(position)
            index = np.clip(np.arange(base - 1, base + 3), 0, n - 1)
            lines.append(np.tensordot(weights(position - base), x[index], 1))
        return np.stack(lines)

    rows = along(image.astype(np.float64), height)
    return filters.to_uint8(along(rows.swapaxes(0, 1), width).swapaxes(0, 1))


if __name__ == "__main__":
    g = np.random.default_rng(0)
    image = g.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    small = image[12:-12, 12:-12]
    fast = seconds(lambda: filters.resize_cubic(small, 256, 256), 10)
    slow = seconds(lambda: slow_cubic(small, 256, 256), 3)
    assert np.array_equal(slow_cubic(small, 256, 256), filters.resize_cubic(small, 256, 256))
    print(f"cubic resize 256px: {1e3 * fast:.1f} ms, {slow / fast:.1f} times as fast as the loop over lines")
    for name in ("noise", "blur", "jpeg", "crop", "combined"):
        for variant in ("text", "frank_code"):
            took = seconds(lambda n=name, v=variant: PERTURBATIONS.load(n)(image, g, variant=v), 10)
            print(f"{name} ({variant}) 256px: {1e3 * took:.1f} ms")
