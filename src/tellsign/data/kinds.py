"""Files that are no picture tellsign reads, named as what they are, by suffix or first bytes."""

from __future__ import annotations

from pathlib import PurePath

JXL = "JPEG XL: convert it to PNG"
RAW = "a camera's raw file: develop it to JPEG or TIFF"
VIDEO = "a video: take frames out of it"
DRAWING = "a drawing of lines, not of pixels"
DOCUMENT = "a document"
PAGE = "a web page: the download went wrong"
ARCHIVE = "an archive: unpack it"
TEXT = "a list or text"

SUFFIXES = {
    ".jxl": JXL,
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"), RAW),
    **dict.fromkeys((".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"), VIDEO),
    **dict.fromkeys((".svg", ".eps"), DRAWING),
    **dict.fromkeys((".pdf", ".doc", ".docx"), DOCUMENT),
    **dict.fromkeys((".htm", ".html"), PAGE),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"), ARCHIVE),
    **dict.fromkeys((".txt", ".csv", ".json", ".md", ".xml", ".yaml"), TEXT),
}
"""Suffix in lower case → what such a file is, and what to do about it."""

BRANDS = {
    b"crx ": RAW,
    **dict.fromkeys((b"qt  ", b"isom", b"iso2", b"iso5", b"mp41", b"mp42", b"M4V ", b"avc1"), VIDEO),
}
"""Major brand of a file in the ISO base media format (ISO/IEC 14496-12, after ``ftyp``) → what it is."""

SIGNATURES = (
    (b"\xff\x0a", JXL),
    (b"\0\0\0\x0cJXL ", JXL),
    (b"\x1aE\xdf\xa3", VIDEO),
    (b"%PDF", DOCUMENT),
    (b"%!PS", DRAWING),
    (b"<svg", DRAWING),
    (b"<!DOCTYPE", PAGE),
    (b"<!doctype", PAGE),
    (b"<html", PAGE),
    (b"PK\x03\x04", ARCHIVE),
    (b"\x1f\x8b", ARCHIVE),
)
"""First bytes → what a file is."""


def kind_of_suffix(name: str) -> str:
    """What files of this name are, by the suffix; empty where that says nothing."""
    return SUFFIXES.get(PurePath(name).suffix.lower(), "")


def kind_passed_over(why: str) -> str:
    """What files that were passed over as ``suffix .heic`` are; empty for other reasons, or where that says nothing."""
    reason, _, suffix = why.partition(" ")
    return SUFFIXES.get(suffix.lower(), "") if reason == "suffix" else ""


def with_kind(why: str) -> str:
    """A reason for passing over files, with what they are in brackets, where that can be told."""
    kind = kind_passed_over(why)
    return f"{why} ({kind})" if kind else why


def kind_of_bytes(start: bytes) -> str:
    """What a file is, by its first bytes (32 are enough); empty where they say nothing."""
    if start[4:8] == b"ftyp":
        return BRANDS.get(start[8:12], "")
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return VIDEO
    return next((kind for signature, kind in SIGNATURES if start.startswith(signature)), "")
