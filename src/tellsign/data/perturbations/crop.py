"""Frank et al.'s crop."""

from __future__ import annotations

from numpy.random import Generator

from tellsign.data.perturbations.filters import Pixels, central_crop
from tellsign.data.perturbations.variants import Variants, perturb


def crop_of_both(image: Pixels, generator: Generator) -> Pixels:
    """Cut off a drawn share and enlarge the rest."""
    return central_crop(image, generator.uniform(0.05, 0.2))


VARIANTS: Variants = {"text": crop_of_both, "frank_code": crop_of_both}


def crop(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """Central crop by a drawn share, enlarged to the old size.

    Arguments, errors and source as `tellsign.data.perturbations.noise.noise`.
    """
    return perturb("crop", VARIANTS, image, generator, variant=variant, probability=probability)
