"""Frank et al.'s JPEG compression."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from tellsign.data.perturbations.filters import Pixels, jpeg_roundtrip
from tellsign.data.perturbations.variants import Variants, perturb

FRANK_QUALITY = 95


def jpeg_of_text(image: Pixels, generator: Generator) -> Pixels:
    """Compression of a drawn quality."""
    return jpeg_roundtrip(image, int(generator.integers(10, 75, endpoint=True)))


def jpeg_of_code(image: Pixels, generator: Generator) -> Pixels:
    """Compression of one quality for all, red and blue swapped meanwhile."""
    swapped = np.ascontiguousarray(image[..., ::-1])
    return np.ascontiguousarray(jpeg_roundtrip(swapped, FRANK_QUALITY)[..., ::-1])


VARIANTS: Variants = {"text": jpeg_of_text, "frank_code": jpeg_of_code}


def jpeg(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """JPEG compression of a drawn quality.

    Arguments, errors and source as `tellsign.data.perturbations.noise.noise`.
    """
    return perturb("jpeg", VARIANTS, image, generator, variant=variant, probability=probability)
