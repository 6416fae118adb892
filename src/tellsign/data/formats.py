"""Which picture formats are read, and the one place where a picture is opened."""

from __future__ import annotations

import functools
import struct
import zlib
from typing import IO

from PIL import Image

from tellsign.data.suffixes import SUFFIXES_OF

HEIF = "HEIF"
FORMATS = tuple(name for name in SUFFIXES_OF if name not in ("MPO", HEIF))
"""Formats that Pillow reads by itself, raster formats only: to read an EPS, it would run a program. It opens an MPO as
the JPEG that it begins with."""

HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
AVIF_BRANDS = frozenset((b"avif", b"avis"))
EITHER = frozenset((b"mif1", b"msf1"))
"""Brands of pictures in the ISO base media format (ISO/IEC 23008-12, annex B, and AVIF's specification)."""

SIGNATURES = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")

# What Pillow and its plugins raise on damaged bytes.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    RuntimeError,  # the one of AVIF
    struct.error,
    zlib.error,
)


def open_picture(stream: IO[bytes]) -> Image.Image:
    """A picture whose header has been read, and no pixel decoded.

    Raises:
        PIL.UnidentifiedImageError: it has no whole header of a format that is read.
        One of `DAMAGE`: its header is damaged.
    """
    start = stream.read(64)
    stream.seek(0)
    return Image.open(stream, formats=_heif() if _is_heif(start) else FORMATS)


def begins_as_picture(data: bytes) -> bool:
    """Whether a file begins as one of the formats that are read; more may be wrong with it."""
    return data.startswith(SIGNATURES) or bool(_brands(data[:12]) & (HEIF_BRANDS | AVIF_BRANDS | EITHER))


def _is_heif(start: bytes) -> bool:
    """Whether the first brand, the major one, says so; where it leaves the coding open, whether none says AVIF."""
    major = _brands(start[:12])
    return bool(major & HEIF_BRANDS) or (bool(major & EITHER) and not _brands(start) & AVIF_BRANDS)


def _brands(start: bytes) -> set[bytes]:
    """Brands in a file's first box, as far as it was read; between the first and the others stands a version."""
    if start[4:8] != b"ftyp":
        return set()
    box = start[8 : int.from_bytes(start[:4], "big")]
    return {box[i : i + 4] for i in range(0, len(box), 4)}


@functools.cache
def _heif() -> tuple[str]:
    import pillow_heif  # when the first such picture comes, because few folders hold any

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return (HEIF,)
