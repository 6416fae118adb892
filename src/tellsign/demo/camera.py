"""A camera: scene to 8-bit picture, with the traces that a sensor and its software leave.

Optics blur, colour filter array, Poisson-Gaussian noise (Foi et al. 2008), bilinear demosaicing, gamma and
in-camera sharpening. The relations between neighbours that demosaicing leaves are what the rescale paper's
pretext task feeds on; that is why this camera goes through a mosaic instead of adding noise to an image.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

GAMMA = 2.2

Planes = Float32[np.ndarray, "3 h w"]


def camera(
    image: Float32[np.ndarray, "h w 3"], generator: np.random.Generator, noise_gain: float | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Photograph a scene.

    Args:
        image: Display-referred values in [0, 1].
        generator: Source of every draw.
        noise_gain: Variance of the shot noise at full light, relative to full light; drawn log-uniformly from
            10^-3.6 to 10^-2.7 when None. 0 gives a camera without noise.

    Returns:
        The picture, sRGB-like, 8 bits.
    """
    light = np.ascontiguousarray(image.transpose(2, 0, 1)) ** np.float32(GAMMA)
    sigma = generator.uniform(0.35, 0.7)
    gain = 10 ** generator.uniform(-3.6, -2.7)
    light = _optics(light, (1.08 * sigma, sigma, 1.08 * sigma))
    raw = _mosaic(light)
    grain = generator.standard_normal(raw.shape, np.float32)
    raw += np.sqrt(0.81 * (gain if noise_gain is None else noise_gain) * (np.clip(raw, 0, 1) + 0.25)) * grain
    picture = np.clip(_demosaic(raw), 0, 1) ** np.float32(1 / GAMMA)
    picture += generator.uniform(0.2, 0.7) * (picture - _box(picture))
    np.clip(picture, 0, 1, out=picture)
    return np.ascontiguousarray((picture * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def _correlate(planes: Planes, taps: Float32[np.ndarray, "3 k"]) -> Planes:
    """Filter each plane with its own odd kernel along both axes; the border is mirrored."""
    count = taps.shape[1]
    height, width = planes.shape[1:]
    padded = np.pad(planes, ((0, 0), (count // 2,) * 2, (count // 2,) * 2), mode="symmetric")
    rows = np.zeros((3, height, padded.shape[2]), np.float32)
    for k in range(count):
        rows += taps[:, k, None, None] * padded[:, k : k + height]
    out = np.zeros((3, height, width), np.float32)
    for k in range(count):
        out += taps[:, k, None, None] * rows[:, :, k : k + width]
    return out


def _optics(light: Planes, sigmas: tuple[float, float, float]) -> Planes:
    """Gaussian blur, a little wider in red and blue (lateral colour); five taps hold a sigma up to 0.8."""
    at = np.arange(-2, 3)
    taps = np.exp(-0.5 * (at / np.asarray(sigmas)[:, None]) ** 2)
    return _correlate(light, (taps / taps.sum(1, keepdims=True)).astype(np.float32))


def _box(planes: Planes) -> Planes:
    """Mean of 3×3 pixels."""
    return _correlate(planes, np.full((3, 3), 1 / 3, np.float32))


def _mosaic(light: Planes) -> Float32[np.ndarray, "h w"]:
    """Keep one colour a pixel, in the Bayer order RG/GB."""
    raw = light[1].copy()
    raw[0::2, 0::2] = light[0, 0::2, 0::2]
    raw[1::2, 1::2] = light[2, 1::2, 1::2]
    return raw


def _demosaic(raw: Float32[np.ndarray, "h w"]) -> Planes:
    """Bilinear interpolation of the missing colours.

    Red and blue lie on every second row and column, so the outer product of (1/2, 1, 1/2) fills them;
    green lies on a quincunx, filled by the mean of its four neighbours. Mirroring without repeating the
    border keeps the phase of the mosaic.
    """
    height, width = raw.shape
    padded = np.pad(raw, 1, mode="reflect")
    odd = (np.arange(-1, height + 1)[:, None] % 2 == 1, np.arange(-1, width + 1)[None] % 2 == 1)
    planes = np.empty((3, height, width), np.float32)
    for colour, kept in ((0, ~odd[0] & ~odd[1]), (2, odd[0] & odd[1])):
        sparse = padded * kept
        rows = sparse[1:-1] + 0.5 * (sparse[:-2] + sparse[2:])
        planes[colour] = rows[:, 1:-1] + 0.5 * (rows[:, :-2] + rows[:, 2:])
    sparse = padded * (odd[0] ^ odd[1])
    around = sparse[:-2, 1:-1] + sparse[2:, 1:-1] + sparse[1:-1, :-2] + sparse[1:-1, 2:]
    planes[1] = sparse[1:-1, 1:-1] + 0.25 * around
    return planes
