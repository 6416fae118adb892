"""What OpenCV does to 8-bit images, against loops over pixels and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellsign.data.images import resized
from tellsign.data.opencv import resize_bilinear


def slow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel by pixel: weights are out of 2048; sums lose 4 and 16 bits on their way, the last 2 are rounded."""

    def place(i: int, target: int, length: int) -> tuple[int, np.float32]:
        position = np.float32((i + 0.5) * (1 / (target / length)) - 0.5)
        return math.floor(position), position - np.float32(math.floor(position))

    out = np.zeros((height, width, image.shape[2]), np.uint8)
    for y, x, c in np.ndindex(out.shape):
        (top, below), (left, right) = place(y, height, image.shape[0]), place(x, width, image.shape[1])
        if left < 0 or left >= image.shape[1] - 1:
            left, right = min(max(left, 0), image.shape[1] - 1), np.float32(0)
        total = 0
        for row, weight in ((top, np.float32(1) - below), (top + 1, below)):
            line = image[min(max(row, 0), image.shape[0] - 1), :, c].astype(int)
            after = line[min(left + 1, image.shape[1] - 1)]
            mixed = int(line[left]) * round(float((np.float32(1) - right) * 2048)) + int(after) * round(
                float(right * 2048)
            )
            total += (round(float(weight * 2048)) * (mixed >> 4)) >> 16
        out[y, x, c] = (total + 2) >> 2
    return out


@pytest.mark.parametrize(("height", "width"), [(9, 14), (20, 31), (7, 7), (5, 26), (1, 1)])
def test_resizing_is_that_of_loops_and_close_to_the_exact_formula(height, width):
    image = np.random.default_rng(0).integers(0, 256, (10, 13, 3), dtype=np.uint8)
    found = resize_bilinear(image, height, width)
    np.testing.assert_array_equal(found, slow(image, height, width))
    y, x = (((np.arange(m) + 0.5) * n / m - 0.5).clip(0, n - 1) for m, n in ((height, 10), (width, 13)))
    columns = np.stack([np.interp(x, np.arange(13), line) for line in image[..., 0].astype(float)])
    exact = np.stack([np.interp(y, np.arange(10), line) for line in columns.T], axis=1)
    assert np.abs(found[..., 0] - exact).max() <= 1.01  # whole numbers lose up to a level


def test_halving_averages_cells_and_a_constant_stays():
    image = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    assert resize_bilinear(image, 2, 3)[..., 0].tolist() == [[4, 6, 8], [16, 18, 20]]  # 3.5 is rounded up
    white = np.full((9, 7, 3), 255, np.uint8)
    assert (resized(white, mode="squash", size=16, filter="opencv") == 255).all()
