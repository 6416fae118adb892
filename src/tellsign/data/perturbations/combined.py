"""Frank et al.'s four perturbations together. It is made of its neighbours, so their code enters with its own."""

from __future__ import annotations

from numpy.random import Generator

from tellsign.data.perturbations import blur, crop, jpeg, noise
from tellsign.data.perturbations.filters import Pixels
from tellsign.data.perturbations.variants import Variants, perturb

FOUR: dict[str, Variants] = {
    "noise": noise.VARIANTS,
    "blur": blur.VARIANTS,
    "jpeg": jpeg.VARIANTS,
    "crop": crop.VARIANTS,
}
"""In the papers' order."""


def all_four(image: Pixels, generator: Generator) -> Pixels:
    """All four, one after the other."""
    for variants in FOUR.values():
        image = variants["text"](image, generator)
    return image


def one_of_four(image: Pixels, generator: Generator) -> Pixels:
    """Frank et al. take turns through the list of files; a uniform draw has the same shares and no order."""
    return FOUR[str(generator.choice(list(FOUR)))]["frank_code"](image, generator)


VARIANTS: Variants = {"text": all_four, "frank_code": one_of_four}


def combined(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """All four in a row (``text``; MPFT §5.4) or one of them (``frank_code``).

    Otherwise as `tellsign.data.perturbations.noise.noise`. The probability is that of the whole chain.
    """
    return perturb("combined", VARIANTS, image, generator, variant=variant, probability=probability)
