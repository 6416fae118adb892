"""Frank et al.'s noise."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from tellsign.data.perturbations.filters import Pixels, add_noise, to_uint8
from tellsign.data.perturbations.variants import Variants, perturb


def noise_of_text(image: Pixels, generator: Generator) -> Pixels:
    """Noise whose variance is drawn, rounded."""
    return to_uint8(add_noise(image, np.sqrt(generator.uniform(5.0, 20.0)), generator))


def noise_of_code(image: Pixels, generator: Generator) -> Pixels:
    """Noise whose deviation is drawn, the fraction cut off."""
    return np.clip(add_noise(image, generator.uniform(5.0, 20.0), generator), 0, 255).astype(np.uint8)


VARIANTS: Variants = {"text": noise_of_text, "frank_code": noise_of_code}


def noise(image: Pixels, generator: Generator, *, variant: str = "text", probability: float = 1.0) -> Pixels:
    """Gaussian noise of a drawn strength.

    Args:
        image: RGB image.
        generator: Draws coin, strength and noise.
        variant: ``text`` or ``frank_code``; see `tellsign.data.perturbations`.
        probability: Chance that the image is perturbed. Frank et al. use 0.5; MPFT and LoL name none.

    Raises:
        UserError: unknown variant, or a probability outside [0, 1].

    Source:
        MPFT Appendix D.1, LoL Appendix A.1.
    """
    return perturb("noise", VARIANTS, image, generator, variant=variant, probability=probability)
