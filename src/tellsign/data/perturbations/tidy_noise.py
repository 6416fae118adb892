"""TIDY's noise."""

from __future__ import annotations

from numpy.random import Generator

from tellsign.data.perturbations.filters import Pixels, add_noise, to_uint8
from tellsign.errors import choose


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
