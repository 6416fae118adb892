"""Frank et al.'s blur."""

from __future__ import annotations

from numpy.random import Generator

from tellsign.data.perturbations.filters import Pixels, gaussian_blur, kernel_sigma
from tellsign.data.perturbations.variants import Variants, perturb

KERNELS = (3, 5, 7, 9)
FRANK_SIGMA = 4.0


def blur_of_text(image: Pixels, generator: Generator) -> Pixels:
    """Blur with a drawn kernel and the deviation that belongs to it."""
    k = int(generator.choice(KERNELS))
    return gaussian_blur(image, k, kernel_sigma(k))


def blur_of_code(image: Pixels, generator: Generator) -> Pixels:
    """Blur with a drawn kernel and one deviation for all."""
    return gaussian_blur(image, int(generator.choice(KERNELS)), FRANK_SIGMA)


VARIANTS: Variants = {"text": blur_of_text, "frank_code": blur_of_code}


def blur(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """Gaussian blur with a drawn kernel size of 3, 5, 7 or 9.

    Arguments, errors and source as `tellsign.data.perturbations.noise.noise`.
    """
    return perturb("blur", VARIANTS, image, generator, variant=variant, probability=probability)
