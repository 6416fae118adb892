"""What an image file gives away without its pixels: format, size, JPEG quality, file size, metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tellsign.data.image_files import opened
from tellsign.data.images import header_of
from tellsign.data.leaks import bits_per_pixel

if TYPE_CHECKING:
    from jaxtyping import Float

METADATA = {
    "exif": "EXIF",
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "icc_profile": "a colour profile",
    "photoshop": "Photoshop's blocks",
    "comment": "a comment",
    "jfif": "a JFIF header",
    "dpi": "a resolution",
    "parameters": "a generator's parameters",
    "prompt": "a generator's parameters",
    "Software": "the name of a program",
}
"""What Pillow calls a piece of metadata in a file's header → what it is."""


@dataclass(frozen=True)
class Cues:
    """What a file's header and its length say; nothing is decoded.

    Attributes:
        format: As Pillow calls it.
        width, height: In pixels, before any EXIF rotation.
        quality: Of a JPEG, 1 to 100, estimated from its quantisation tables; else -1.
        bytes: Length of the file.
        metadata: Which kinds of metadata it has.
    """

    format: str
    width: int
    height: int
    quality: int
    bytes: int
    metadata: frozenset[str]


def cues_of(path: Path) -> Cues:
    """The cues of an image file.

    Raises:
        ValueError, OSError: see `opened`.
    """
    with opened(path) as picture:
        header = header_of(picture)
        return Cues(
            format=header.format,
            width=header.width,
            height=header.height,
            quality=header.quality,
            bytes=path.stat().st_size,
            metadata=frozenset(METADATA[key] for key in picture.info if key in METADATA),
        )


TOGETHER = "all together"


def columns_of(files: Sequence[Cues]) -> dict[str, Float[np.ndarray, "files columns"]]:
    """Numbers for a classifier, by the cue that it may see: a row a file; the last cue is all of them together."""
    width, height, size = (np.array([getattr(one, name) for one in files], float) for name in
                           ("width", "height", "bytes"))  # fmt: skip
    kinds = sorted(frozenset[str]().union(*(one.metadata for one in files)))
    formats = sorted({one.format for one in files})
    metadata = np.array([[kind in one.metadata for kind in kinds] for one in files], float)
    single = {
        "format": np.array([[one.format == name for name in formats] for one in files], float),
        "size": np.stack([width, height], axis=1),
        "JPEG quality": np.array([[one.quality] for one in files], float),
        "file size": size[:, None],
        "bits per pixel": bits_per_pixel(size, height, width)[:, None],
        "metadata": metadata if kinds else np.zeros((len(files), 1)),
    }
    return single | {TOGETHER: np.concatenate(list(single.values()), axis=1)}


CUES = ("format", "size", "JPEG quality", "file size", "bits per pixel", "metadata", TOGETHER)
"""The keys of `columns_of`, in order."""
