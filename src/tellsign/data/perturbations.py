"""Perturbations of decoded images: Frank et al.'s (used by MPFT and LoL) and TIDY's.

A perturbation takes one RGB image, uint8 (h, w, 3), and a numpy generator, and returns an image of the same
shape and type. Each image draws from a generator of its own, so the result does not depend on the order of
the images.

MPFT (Appendix D.1) and LoL (Appendix A.1) describe the four in the same words, "following Frank et al.".
The released code of Frank et al. does something else than these words, so there are two variants:

- noise. ``text``: variance ~ U[5, 20] on 0-255, so σ = √variance; rounded. ``frank_code``: σ ~ U[5, 20] (the
  "variance" multiplies a standard normal); the fraction is cut off.
- blur. Kernel size k from {3, 5, 7, 9}. ``text``: the σ that belongs to k. ``frank_code``: σ = 4 for every k.
- jpeg. ``text``: quality from 10 to 75, both included. ``frank_code``: always quality 95 (the drawn number is
  passed where an option's name belongs), with red and blue swapped while encoding.
- crop. The same in both: a share of 5-20 % is cut off, half of it on each side, and the rest enlarged again.
- combined. ``text``: all four in a row (noise, blur, jpeg, crop). ``frank_code``: one of the four an image.

In the code's crop two faults are left out, as they cannot occur at the sizes it was used with (square, 128 px
and up): height and width change places in an image that is not square, and a cut of 0 px leaves nothing.

Filters follow OpenCV, which that code calls: kernels cut at k taps, borders reflected without repeating the
edge pixel, cubic interpolation with a = -0.75.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, UInt8
from numpy.random import Generator
from PIL import Image

from tellsign.errors import UserError, choose

Pixels = UInt8[np.ndarray, "h w 3"]

KERNELS = (3, 5, 7, 9)
FRANK_SIGMA = 4.0
FRANK_QUALITY = 95
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


# ---------------------------------------------------------------------------------------------- Frank et al.


def _noise_text(image: Pixels, generator: Generator) -> Pixels:
    return to_uint8(add_noise(image, np.sqrt(generator.uniform(5.0, 20.0)), generator))


def _noise_frank(image: Pixels, generator: Generator) -> Pixels:
    return np.clip(add_noise(image, generator.uniform(5.0, 20.0), generator), 0, 255).astype(np.uint8)


def _blur_text(image: Pixels, generator: Generator) -> Pixels:
    k = int(generator.choice(KERNELS))
    return gaussian_blur(image, k, kernel_sigma(k))


def _blur_frank(image: Pixels, generator: Generator) -> Pixels:
    return gaussian_blur(image, int(generator.choice(KERNELS)), FRANK_SIGMA)


def _jpeg_text(image: Pixels, generator: Generator) -> Pixels:
    return jpeg_roundtrip(image, int(generator.integers(10, 75, endpoint=True)))


def _jpeg_frank(image: Pixels, generator: Generator) -> Pixels:
    swapped = np.ascontiguousarray(image[..., ::-1])
    return np.ascontiguousarray(jpeg_roundtrip(swapped, FRANK_QUALITY)[..., ::-1])


def _crop(image: Pixels, generator: Generator) -> Pixels:
    return central_crop(image, generator.uniform(0.05, 0.2))


def _in_a_row(image: Pixels, generator: Generator) -> Pixels:
    for name in ("noise", "blur", "jpeg", "crop"):
        image = FRANK[name]["text"](image, generator)
    return image


def _one_of_four(image: Pixels, generator: Generator) -> Pixels:
    """Frank et al. take turns through the list of files; a uniform draw has the same shares and no order."""
    name = str(generator.choice(["noise", "blur", "jpeg", "crop"]))
    return FRANK[name]["frank_code"](image, generator)


FRANK: dict[str, dict[str, Callable[[Pixels, Generator], Pixels]]] = {
    "noise": {"text": _noise_text, "frank_code": _noise_frank},
    "blur": {"text": _blur_text, "frank_code": _blur_frank},
    "jpeg": {"text": _jpeg_text, "frank_code": _jpeg_frank},
    "crop": {"text": _crop, "frank_code": _crop},
    "combined": {"text": _in_a_row, "frank_code": _one_of_four},
}
"""Perturbation and variant to a function of image and generator; see the top of this module."""


def _frank(name: str, image: Pixels, generator: Generator, variant: str, probability: float) -> Pixels:
    """Apply one perturbation with a probability."""
    apply = choose(FRANK[name], variant, f"variant of perturbation {name!r}")
    if not 0 <= probability <= 1:
        raise UserError(f"probability of perturbation {name!r} is {probability}; it must be from 0 to 1.")
    return apply(image, generator) if generator.random() < probability else image


def noise(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """Gaussian noise of a drawn strength.

    Args:
        image: RGB image.
        generator: Draws coin, strength and noise.
        variant: ``text`` or ``frank_code``; see the top of this module.
        probability: Chance that the image is perturbed. Frank et al. use 0.5; MPFT and LoL name none.

    Raises:
        UserError: unknown variant, or a probability outside [0, 1].

    Source:
        MPFT Appendix D.1, LoL Appendix A.1.
    """
    return _frank("noise", image, generator, variant, probability)


def blur(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """Gaussian blur with a drawn kernel size of 3, 5, 7 or 9; arguments, errors and source as ``noise``."""
    return _frank("blur", image, generator, variant, probability)


def jpeg(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """JPEG compression of a drawn quality; arguments, errors and source as ``noise``."""
    return _frank("jpeg", image, generator, variant, probability)


def crop(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """Central crop by a drawn share, enlarged to the old size; arguments, errors and source as ``noise``."""
    return _frank("crop", image, generator, variant, probability)


def combined(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """All four in a row (``text``; MPFT §5.4) or one of them (``frank_code``); otherwise as ``noise``.

    The probability is that of the whole chain.
    """
    return _frank("combined", image, generator, variant, probability)


# ---------------------------------------------------------------------------------------------------- TIDY


def tidy_noise(image: Pixels, generator: Generator, *, severity: float, unit: str = "sigma") -> Pixels:
    """Gaussian noise on intensities of 0 to 1, rounded back to 8 bits.

    Args:
        image: RGB image.
        generator: Draws the noise.
        severity: 0.001, 0.005 or 0.01 in the paper, printed as σ. On 8 bits σ = 0.001 is a quarter of a
            level.
        unit: ``sigma``: severity is the standard deviation; ``variance``: it is the variance, which is what
            common noise functions take under that range.

    Raises:
        UserError: unknown unit.

    Source:
        TIDY §4.2 and Fig. 3.
    """
    sigma = choose({"sigma": severity, "variance": severity**0.5}, unit, "unit of TIDY's noise")
    return to_uint8(add_noise(image, 255 * sigma, generator))


def tidy_blur(image: Pixels, generator: Generator, *, severity: float) -> Pixels:
    """Gaussian blur of standard deviation ``severity`` pixels (1, 2 or 3), cut at 4 σ.

    Nothing is drawn. The filter is scipy's, as in the code of Wang et al. (2020), whom the paper follows.

    Source:
        TIDY §4.2 and Fig. 3.
    """
    from scipy.ndimage import gaussian_filter

    return to_uint8(gaussian_filter(image.astype(np.float64), sigma=(severity, severity, 0)))


def tidy_jpeg(image: Pixels, generator: Generator, *, severity: int) -> Pixels:
    """JPEG compression of quality ``severity`` (75, 50 or 25); nothing is drawn.

    Source:
        TIDY §4.2 and Fig. 3.
    """
    return jpeg_roundtrip(image, int(severity))


def none(image: Pixels, generator: Generator) -> Pixels:
    """Leave the image as it is."""
    return image


PERTURBATIONS: dict[str, Callable[..., Pixels]] = {
    "none": none,
    "noise": noise,
    "blur": blur,
    "jpeg": jpeg,
    "crop": crop,
    "combined": combined,
    "tidy-noise": tidy_noise,
    "tidy-blur": tidy_blur,
    "tidy-jpeg": tidy_jpeg,
}
"""``perturbation(image, generator, **options)`` by name."""
