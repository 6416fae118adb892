"""What a picture's file says of where it comes from. Facts beside a score; no score depends on them.

Nothing here is verified: metadata can be removed, and can be written by anybody.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

from PIL import Image

from tellsign.data.formats import DAMAGE, open_picture

LONGEST = 120
"""Characters of a text that are told."""

TEXTS = ("parameters", "prompt", "workflow", "Dream", "sd-metadata", "invokeai_metadata", "generation_data", "Software",
         "Source", "Description", "Comment", "comment")  # fmt: skip
"""Texts of a PNG, or comments, in which generators and editors sign: Stable Diffusion's web interfaces, ComfyUI,
InvokeAI, NovelAI and others."""

EXIF = {0x010F: "maker", 0x0110: "camera", 0x0131: "software", 0x010E: "description", 0x013B: "artist"}
"""Tags of EXIF's first directory (Exif 3.0, §4.6.5) that say who made a picture."""

USER_COMMENT = (0x8769, 0x9286)
"""Directory and tag of EXIF's user comment, where JPEGs carry what PNGs have under ``parameters``."""

XMP = {
    "creator tool": re.compile(rb"CreatorTool(?:>|=\")([^<\"]{1,200})"),
    "digital source type": re.compile(rb"DigitalSourceType(?:>|=\"|[^>]{0,40}resource=\")([^<\"]{1,200})"),
}
"""Properties of XMP; IPTC's digital source type is ``trainedAlgorithmicMedia`` for what a model made."""


def metadata_of(data: bytes) -> tuple[str, ...]:
    """What an image file says of its maker, a text each: ``PNG parameters: a castle, …``; often nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF: nothing is told then
            picture = open_picture(io.BytesIO(data))
            return tuple(f"{name}: {shortened(text)}" for name, text in _facts(picture) if shortened(text))
    except DAMAGE:
        return ()


def shortened(text: str) -> str:
    """A text in one line of printable characters, cut off after `LONGEST` of them."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def _facts(picture: Image.Image) -> Iterator[tuple[str, str]]:
    for key in TEXTS:
        if key in picture.info:
            yield f"{picture.format} {key}", _text(picture.info[key])
    exif = picture.getexif()
    for tag, name in EXIF.items():
        if tag in exif:
            yield f"EXIF {name}", _text(exif[tag])
    comment = exif.get_ifd(USER_COMMENT[0]).get(USER_COMMENT[1])
    if comment:
        yield "EXIF user comment", _text(comment[8:] if isinstance(comment, bytes) else comment)
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    for name, pattern in XMP.items():
        if match := pattern.search(xmp):
            yield f"XMP {name}", _text(match[1])
    if _has_manifest(picture):
        yield "C2PA", "a manifest, not verified"


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    if value.count(0) > len(value) // 4:  # UTF-16, as in EXIF's comments
        return value.decode("utf-16-be" if value[:1] == b"\0" else "utf-16-le", "replace")
    return value.decode("utf-8", "replace")


def _has_manifest(picture: Image.Image) -> bool:
    """Whether a JPEG has C2PA's boxes in APP11, or a PNG its chunk ``caBX`` (C2PA 2.1, §A.3)."""
    segments = [data for name, data in getattr(picture, "applist", ()) if name == "APP11"]
    chunks = [chunk[0] for chunk in getattr(picture, "private_chunks", ())]
    return any(b"c2pa" in data for data in segments) or b"caBX" in chunks
