"""Image files that are looked at without decoding a pixel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from tellsign.data.formats import DAMAGE, open_picture
from tellsign.data.kinds import kind_of_bytes


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file whose header has been read.

    Raises:
        ValueError: it has none that tellsign reads; the message says what the file is, where that can be told.
        OSError: the file cannot be read at all.
    """
    try:
        with path.open("rb") as stream, open_picture(stream) as picture:
            yield picture
    except UnidentifiedImageError:
        with path.open("rb") as stream:
            start = stream.read(32)
        kind = kind_of_bytes(start) or f"begins with {start[:8]!r}, which no supported format does"
        raise ValueError(kind if start else "the file has zero bytes") from None
    except DAMAGE as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise
        raise ValueError(f"unreadable header: {problem}") from None
