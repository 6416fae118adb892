"""The way of a picture through the web: a resampling by an unknown tool, a crop, JPEG at an unknown quality.

Real and fake images of the demo share these draws, so that neither sizes nor qualities tell them apart.
"""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

Pixels = UInt8[np.ndarray, "h w 3"]

SCALES = (0.75, 1.4)
QUALITIES = (86, 97)
GRID = 8
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
_FILTER_SHARES = (0.5, 0.35, 0.15)


def rescale(pixels: Pixels, generator: np.random.Generator) -> tuple[Pixels, tuple[int, int]]:
    """Resample by a random factor in 0.75 to 1.4 and cut right and bottom to a multiple of 8.

    The demo's generators work on a grid of 8 pixels; cutting the photographs too keeps their sizes alike.

    Returns:
        The image, and the height and width before the cut (to place boxes given as fractions).
    """
    factor = generator.uniform(*SCALES)
    height, width = (max(GRID, round(length * factor)) for length in pixels.shape[:2])
    kernel = _FILTERS[int(generator.choice(len(_FILTERS), p=_FILTER_SHARES))]
    resized = np.asarray(Image.fromarray(pixels).resize((width, height), kernel))
    return resized[: height // GRID * GRID, : width // GRID * GRID], (height, width)


def jpeg_quality(generator: np.random.Generator) -> int:
    """Draw a quality, 86 to 97, all alike."""
    return int(generator.integers(QUALITIES[0], QUALITIES[1] + 1))


def jpeg_bytes(pixels: Pixels, quality: int) -> bytes:
    """Encode as JPEG; chroma is halved below quality 90, as common tools do."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    return stream.getvalue()


def png_bytes(pixels: Pixels) -> bytes:
    """Encode as PNG, fast rather than small."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
