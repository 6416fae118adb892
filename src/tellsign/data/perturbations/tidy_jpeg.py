"""TIDY's JPEG compression."""

from __future__ import annotations

from numpy.random import Generator

from tellsign.data.perturbations.filters import Pixels, jpeg_roundtrip


def tidy_jpeg(image: Pixels, generator: Generator, *, severity: int) -> Pixels:
    """JPEG compression of quality ``severity`` (75, 50 or 25); nothing is drawn.

    Source:
        TIDY §4.2 and Fig. 3.
    """
    return jpeg_roundtrip(image, int(severity))
