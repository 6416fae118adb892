"""What perturbations are made of: noise, blur, JPEG and resizing of one image, nothing drawn but the noise.

Filters follow OpenCV, which Frank et al.'s code calls: kernels cut at k taps, borders reflected without repeating the
edge pixel, cubic interpolation with a = -0.75.
"""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float64, UInt8
from numpy.random import Generator
from PIL import Image

Pixels = UInt8[np.ndarray, "h w 3"]

CUBIC = -0.75


def to_uint8(values: np.ndarray) -> Pixels:
    """Round to the nearest integer (halves to even) and clip to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def add_noise(image: Pixels, sigma: float, generator: Generator) -> Float64[np.ndarray, "h w 3"]:
    """Add independent Gaussian noise of deviation ``sigma`` (on 0-255) to every value; not yet rounded."""
    return image + sigma * generator.standard_normal(image.shape)


def kernel_sigma(k: int) -> float:
    """Deviation that belongs to a kernel of ``k`` taps if none is given: 0.3 ((k - 1) / 2 - 1) + 0.8.

    OpenCV itself takes fixed binomial-like taps for small kernels (up to 7 or 9, by version) in this case;
    the formula it documents does not depend on the version.

    Source:
        OpenCV's documentation of getGaussianKernel.
    """
    return 0.3 * ((k - 1) * 0.5 - 1) + 0.8


def gaussian_kernel(k: int, sigma: float) -> Float64[np.ndarray, " k"]:
    """``k`` taps of a Gaussian, scaled to sum 1."""
    taps = np.exp(-0.5 * ((np.arange(k) - (k - 1) / 2) / sigma) ** 2)
    return taps / taps.sum()


def gaussian_blur(image: Pixels, k: int, sigma: float) -> Pixels:
    """Blur with a Gaussian of ``k`` x ``k`` taps; the border is mirrored, its pixel not repeated."""
    from scipy.ndimage import correlate1d

    taps = gaussian_kernel(k, sigma)
    rows = correlate1d(image.astype(np.float64), taps, axis=0, mode="mirror")
    return to_uint8(correlate1d(rows, taps, axis=1, mode="mirror"))


def jpeg_roundtrip(image: Pixels, quality: int) -> Pixels:
    """Encode as JPEG (4:2:0, libjpeg's standard tables) and decode."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as decoded:
        return np.array(decoded)


def resize_cubic(image: np.ndarray, height: int, width: int) -> Pixels:
    """Resize by cubic convolution with a = -0.75, border repeated, no anti-aliasing.

    Pixel centres lie at half integers: OpenCV's INTER_CUBIC and torch's bicubic; Pillow's has a = -0.5.
    """
    x = image.astype(np.float64)
    for axis, target in ((0, height), (1, width)):
        n = x.shape[axis]
        position = (np.arange(target) + 0.5) * n / target - 0.5
        base = np.floor(position).astype(np.int64)
        result = 0.0
        for tap in (-1, 0, 1, 2):
            distance = np.abs(position - base - tap)
            near = (CUBIC + 2) * distance**3 - (CUBIC + 3) * distance**2 + 1
            far = CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
            weight = np.where(distance <= 1, near, far)
            shape = (-1, 1, 1) if axis == 0 else (-1, 1)
            result = result + weight.reshape(shape) * x.take(np.clip(base + tap, 0, n - 1), axis=axis)
        x = np.asarray(result)
    return to_uint8(x)


def central_crop(image: Pixels, share: float) -> Pixels:
    """Cut floor(side x share / 2) pixels off each side and enlarge the rest to the old size."""
    h, w = image.shape[:2]
    y, x = int(h * share / 2), int(w * share / 2)
    return resize_cubic(image[y : h - y, x : w - x], h, w)
