"""No perturbation."""

from __future__ import annotations

from numpy.random import Generator

from tellsign.data.perturbations.filters import Pixels


def none(image: Pixels, generator: Generator) -> Pixels:
    """Leave the image as it is, and draw nothing."""
    return image
