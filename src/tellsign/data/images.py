"""From a file's bytes to 8-bit RGB: decoding, what is refused and why, JPEG facts, and bias control, resizing.

NumPy and Pillow only; tiling, crops and augmentation of whole batches are in :mod:`tellsign.data.pixels`.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from tellsign.data.formats import DAMAGE, HEIF, begins_as_picture, open_picture
from tellsign.data.jpeg import jpeg_quality
from tellsign.data.opencv import resize_bilinear
from tellsign.errors import UserError, choose

T = TypeVar("T")
R = TypeVar("R")

# Pillow's own limit is a global of the process, and at first only warns. Ours is a setting of the index,
# checked in `_check_size` before a pixel is decoded; with both, one file would be reported twice.
Image.MAX_IMAGE_PIXELS = None

MIN_SIDE = 8
MAX_PIXELS = 100_000_000
STATUSES = ("ok", "empty", "corrupt", "not an image", "too small", "too large")

ALWAYS_RGB = ("RGB", "L")
"""Modes whose pixels, once decoded, are made RGB without anything that could fail."""


class RefusedError(Exception):
    """A file that is no usable image: ``status`` (one of :data:`STATUSES`) and ``reason``."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are decoded; width and height before EXIF rotation."""

    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    quality: int = -1


@dataclass(frozen=True)
class Decoded:
    """An image as 8-bit RGB, read-only, and what its header said; ``notes`` says what decoding changed, if anything."""

    pixels: UInt8[np.ndarray, "height width 3"]
    header: Header
    notes: str


@dataclass(frozen=True)
class Facts:
    """What an index says of one file.

    Width and height are those of the decoded image; the header's where the file was refused, 0 where it has
    none. ``quality`` is -1 unless JPEG.
    """

    width: int
    height: int
    format: str
    mode: str
    quality: int
    bytes: int
    status: str
    reason: str


def _open(data: bytes) -> Image.Image:
    if not data:
        raise RefusedError("empty", "the file has zero bytes")
    try:
        return open_picture(io.BytesIO(data))
    except Image.UnidentifiedImageError:
        if begins_as_picture(data):
            raise RefusedError("corrupt", f"begins as an image ({data[:12]!r}) but has no whole header") from None
        raise RefusedError("not an image", f"begins with {data[:8]!r}, which no supported format does") from None
    except DAMAGE as error:
        raise RefusedError("corrupt", f"unreadable header: {error}") from error


def header_of(picture: Image.Image) -> Header:
    """What an opened file says of itself."""
    tables = getattr(picture, "quantization", None)
    return Header(
        width=picture.width,
        height=picture.height,
        format=picture.format or "",
        mode=picture.mode,
        quality=jpeg_quality(tables) if tables else -1,
    )


def _check_size(header: Header, min_side: int, max_pixels: int | None) -> None:
    size = f"{header.width}×{header.height} px"
    if min(header.width, header.height) < min_side:
        raise RefusedError("too small", f"{size}, the shorter side must be at least {min_side} (min_side)")
    if max_pixels is not None and header.width * header.height > max_pixels:
        raise RefusedError(
            "too large",
            f"{size} = {header.width * header.height:,} pixels, more than {max_pixels:,} (max_pixels)",
        )


def _bits(picture: Image.Image) -> int:
    """How many bits a channel the file stores; 8 also stands for less."""
    if picture.format == HEIF:
        return picture.info["bit_depth"]
    tiles = getattr(picture, "tile", ())  # Pillow's raw modes name 16 (``I;16``, ``RGB;16B``)
    return 16 if "16" in picture.mode or any(";16" in str(tile[3]) for tile in tiles) else 8


def _loaded(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """One frame, upright, its pixels decoded but not yet made RGB; and notes of what is and will be changed.

    The frame is the first; of a HEIF, the one that it calls its primary image.
    """
    notes = []
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        notes.append(f"{f'number {at + 1}' if (at := picture.tell()) else 'first'} of {frames} frames")
    if (bits := _bits(picture)) > 8:
        notes.append(f"{bits} bits a channel reduced to the upper 8")
    picture.load()
    orientation = picture.getexif().get(0x0112, 1)
    if orientation != 1:
        picture = ImageOps.exif_transpose(picture)
        notes.append(f"EXIF orientation {orientation} applied")
    if picture.mode in ("I", "F"):
        raise RefusedError("not an image", f"mode {picture.mode}: 32-bit values have no fixed range to make 8 bits of")
    if picture.mode == "CMYK":
        notes.append("CMYK converted")
    if picture.mode in ("P", "PA"):
        notes.append("palette expanded")
    if picture.has_transparency_data:
        notes.append("alpha composited over white")
    return picture, notes


def _to_rgb(picture: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    if picture.mode.startswith("I;16"):
        grey = (np.asarray(picture, dtype=np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        colours = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    # `convert` would copy what is RGB already, and `np.array` once more what `np.asarray` has copied out of Pillow
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


@contextmanager
def _damage_refused() -> Iterator[None]:
    """Turn what Pillow raises on damaged bytes into a refusal."""
    try:
        yield
    except DAMAGE as error:
        raise RefusedError("corrupt", str(error) or type(error).__name__) from error


def decode(source: Path | bytes, *, min_side: int = 1, max_pixels: int | None = None) -> Decoded:
    """Decode a whole image file to 8-bit RGB; nothing is ever substituted for what cannot be decoded.

    - CMYK goes through Pillow's conversion (Adobe's inversion included), greyscale and palettes are expanded.
    - 16 bits a channel keep the upper 8, which is what Pillow does for 16-bit RGB; greyscale follows it.
    - Alpha is composited over white: colours under transparent pixels are arbitrary and no viewer shows them.
      Where the image is opaque this equals dropping alpha, which is what the papers' public loaders do.
    - Of several frames the first is taken, of a HEIF the primary one. The orientation is applied.

    Args:
        source: a file, or its bytes.
        min_side: shorter sides are refused.
        max_pixels: larger areas are refused before decoding; None: no limit.

    Raises:
        RefusedError: zero bytes, damaged or truncated, no image, too small or too large, or 32-bit values.
        OSError: the file cannot be read at all.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    picture = _open(data)
    header = header_of(picture)
    _check_size(header, min_side, max_pixels)
    with _damage_refused():
        picture, notes = _loaded(picture)
        return Decoded(_to_rgb(picture), header, "; ".join(notes))


def inspect(source: Path | bytes, *, min_side: int = MIN_SIDE, max_pixels: int = MAX_PIXELS) -> Facts:
    """Facts and status of an image file, found by decoding all of it (a truncated end shows nowhere else).

    ``reason`` says why a file was refused or, where the status is ``ok``, what decoding changed.

    Raises:
        OSError: the file cannot be read at all.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    header = Header()
    try:
        picture = _open(data)
        header = header_of(picture)
        _check_size(header, min_side, max_pixels)
        with _damage_refused():
            picture, notes = _loaded(picture)
            if picture.mode not in ALWAYS_RGB:
                _to_rgb(picture)
    except RefusedError as refused:
        width, height, status, reason = header.width, header.height, refused.status, refused.reason
    else:
        (width, height), status, reason = picture.size, "ok", "; ".join(notes)
    return Facts(width, height, header.format, header.mode, header.quality, len(data), status, reason)


def read_checked(path: Path, image_id: str) -> bytes:
    """Bytes of an indexed file.

    Raises:
        UserError: the file is gone, or its bytes have changed.
    """
    again = "Restore the file, or run the pipeline again: it notices changed folders and indexes them anew."
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} was indexed but is no longer there. {again}") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != image_id:
        raise UserError(f"{path} has changed: indexed with sha256 {image_id}, now {digest}. {again}")
    return data


def center_window(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Central ``size``×``size`` crop of one image; an image with a shorter side is tiled first.

    The same rule as :meth:`tellsign.data.pixels.PixelTable.center_crops` (there with its source), for one image.
    """
    rows, columns = (
        (round((length * -(-size // length) - size) / 2) + np.arange(size)) % length for length in image.shape[:2]
    )
    return image[rows[:, None], columns]


def recompress(image: UInt8[np.ndarray, "h w 3"], quality: int) -> UInt8[np.ndarray, "h w 3"]:
    """Encode as JPEG at ``quality`` (1 to 100) with 4:2:0 chroma subsampling, and decode again."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return np.array(Image.open(stream))


@dataclass(frozen=True)
class BiasControl:
    """What is done alike to images of both labels, so that size and compression cannot tell them apart."""

    crop: bool
    jpeg: bool


BIAS_CONTROLS: dict[str, BiasControl] = {
    "none": BiasControl(crop=False, jpeg=False),
    "jpeg": BiasControl(crop=False, jpeg=True),
    "jpeg+size": BiasControl(crop=True, jpeg=True),
}


def control_bias(
    image: UInt8[np.ndarray, "h w 3"], control: BiasControl, *, quality: int, size: int
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Common centre crop to ``size``×``size`` (tiled when smaller), then common re-encoding at ``quality``.

    The crop comes first: the 8×8 blocks of the re-encoding then start at the same place in every image.
    """
    if control.crop:
        image = center_window(image, size)
    return recompress(image, quality) if control.jpeg else image


def resized_shape(height: int, width: int, mode: str, size: int) -> tuple[int, int]:
    """Height and width after `resized`."""
    if mode == "squash":
        return size, size
    short = min(height, width)
    return (size, size * width // short) if height == short else (size * height // short, size)


FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "opencv": None,
}


def resized(image: UInt8[np.ndarray, "h w 3"], *, mode: str, size: int, filter: str) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Resize to a square (``squash``) or by the shorter side (``shorter``); the longer side is rounded down.

    The filter is Pillow's, which widens with the ratio when the image gets smaller: what torchvision's Resize does to
    a Pillow image. ``opencv`` is OpenCV's bilinear one, which does not. An image that has the size already stays as it
    is.

    Raises:
        UserError: unknown mode or filter.

    Source:
        NPR's tests squash to 256 × 256; CNNDet's and UniFD's training resizes the shorter side to 256 (their code).
    """
    choose(dict.fromkeys(("squash", "shorter")), mode, "resize mode")
    height, width = resized_shape(image.shape[0], image.shape[1], mode, size)
    if (height, width) == image.shape[:2]:
        return image
    pillow = choose(FILTERS, filter, "resize filter")
    if pillow is None:
        return resize_bilinear(image, height, width)
    return np.array(Image.fromarray(image).resize((width, height), pillow))


def in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, *, waiting: int | None = None
) -> Iterator[R]:
    """``map`` over a few threads, results in the items' order, at most four waiting a thread, or ``waiting`` in all.

    Pillow and hashlib work outside the interpreter's lock. With one worker nothing is threaded.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    most = 4 * workers if waiting is None else max(waiting, workers)
    with ThreadPoolExecutor(workers) as pool:
        submitted: deque[Future[R]] = deque()
        for item in items:
            submitted.append(pool.submit(function, item))
            if len(submitted) >= most:
                yield submitted.popleft().result()
        while submitted:
            yield submitted.popleft().result()
