from __future__ import annotations

import numpy as np
import pytest

from tellsign.demo import camera as module
from tellsign.demo.camera import camera


def test_flat_scene_without_noise_stays_flat():
    image = np.full((13, 10, 3), 0.5, np.float32)  # odd sides: the mosaic must not mind
    picture = camera(image, np.random.default_rng(0), noise_gain=0.0)
    assert picture.dtype == np.uint8 and picture.shape == image.shape
    assert np.abs(picture.astype(int) - 128).max() <= 1


def test_demosaic_against_a_slow_loop():
    raw = np.random.default_rng(0).random((6, 7)).astype(np.float32)
    colour_of = {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 2}
    weights = {1: {(0, 0): 1, (0, 1): 0.25, (0, -1): 0.25, (1, 0): 0.25, (-1, 0): 0.25}}
    weights[0] = weights[2] = {(a, b): (1 - abs(a) / 2) * (1 - abs(b) / 2) for a in (-1, 0, 1) for b in (-1, 0, 1)}
    got = module._demosaic(raw)

    def mirror(i: int, n: int) -> int:
        return -i if i < 0 else 2 * n - 2 - i if i >= n else i

    for c in range(3):
        for y in range(6):
            for x in range(7):
                total = 0.0
                for (dy, dx), weight in weights[c].items():
                    v, u = mirror(y + dy, 6), mirror(x + dx, 7)
                    total += weight * raw[v, u] * (colour_of[v % 2, u % 2] == c)
                assert got[c, y, x] == pytest.approx(total, abs=1e-6)


def test_noise_follows_the_poisson_gaussian_law():
    dark, bright = (np.full((200, 200, 3), value, np.float32) for value in (0.2, 0.6))

    def green_variance(image):
        light = image[0, 0, 0] ** 2.2
        plane = module._mosaic(np.ascontiguousarray((image**2.2).transpose(2, 0, 1)))
        assert np.allclose(plane, light)
        rng = np.random.default_rng(1)
        picture = camera(image, rng, noise_gain=1e-3)[..., 1] / 255.0
        return ((picture**2.2)[2:-2:2, 3:-2:2]).var()

    ratio = green_variance(bright) / green_variance(dark)
    expected = (0.6**2.2 + 0.25) / (0.2**2.2 + 0.25)
    assert ratio == pytest.approx(expected, rel=0.15)  # sharpening multiplies both alike


def test_grain_repeats_with_the_mosaic():
    """Interpolated pixels are smoother than measured ones: the trace that the pretext task lives on."""
    picture = camera(np.full((96, 96, 3), 0.5, np.float32), np.random.default_rng(0), noise_gain=1e-3)
    red = picture[..., 0].astype(float)
    measured, filled = red[0::2, 0::2].var(), red[1::2, 1::2].var()
    assert measured > 1.5 * filled


def test_gain_is_drawn_when_not_given_and_other_draws_do_not_move():
    image = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)
    one, two = (camera(image, np.random.default_rng(s)) for s in (1, 2))
    assert (one != two).any()
    given, other = np.random.default_rng(1), np.random.default_rng(1)
    camera(image, given, noise_gain=0.0)
    camera(image, other)
    assert given.random() == other.random()
