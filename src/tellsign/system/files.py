"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

from tellsign.system.integrity import MANIFEST, manifest_text, read_manifest, sha256_of_file, write_manifest


def is_made(path: Path) -> bool:
    """Whether a path that a rule gave lies where stages keep what they make, rather than among the user's images."""
    return path.parts[:1] == ("data",)


def part_of(path: Path) -> Path:
    """A fresh temporary name beside ``path``; what a killed process left of an earlier one is removed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_stale(path.parent, f".{glob.escape(path.name)}.*.part")
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{owner()}.part")


def host() -> str:
    """This machine's name, as part of a file's."""
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())


def owner() -> str:
    """Who writes a half-written file: what a killed job left can be told from what another is writing."""
    return f"{host()}-{os.getpid()}"


def clear_stale(folder: Path, pattern: str = ".*.part") -> None:
    """Remove half-written files and folders whose writer, a process of this machine, is dead."""
    for stale in folder.glob(pattern):
        place, _, process = stale.name.rsplit(".", 2)[1].rpartition("-")
        if place == host() and not psutil.pid_exists(int(process)):
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink(missing_ok=True)


@contextlib.contextmanager
def file_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well.

    Nothing half-written is left under either name when the block fails.
    """
    part = part_of(path)
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; list its files and rename it to ``path`` when the block ends well."""
    part = part_of(path)
    part.mkdir()
    try:
        yield part
        write_manifest(part)
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with file_beside(path) as part:
        part.write_text(text, encoding="utf-8")


def add_to_manifest(path: Path) -> None:
    """Note the sha256 of a file that was just written in its folder's manifest; what stands there of others stays."""
    digests = read_manifest(path.parent) | {path.name: sha256_of_file(path)}
    write_text(path.parent / MANIFEST, manifest_text(dict(sorted(digests.items()))))
