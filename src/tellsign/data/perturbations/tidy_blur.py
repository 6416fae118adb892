"""TIDY's blur."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from tellsign.data.perturbations.filters import Pixels, to_uint8


def tidy_blur(image: Pixels, generator: Generator, *, severity: float) -> Pixels:
    """Gaussian blur of standard deviation ``severity`` pixels (1, 2 or 3), cut at 4 σ.

    Nothing is drawn. The filter is scipy's, as in the code of Wang et al. (2020), whom the paper follows.

    Source:
        TIDY §4.2 and Fig. 3.
    """
    from scipy.ndimage import gaussian_filter

    return to_uint8(gaussian_filter(image.astype(np.float64), sigma=(severity, severity, 0)))
