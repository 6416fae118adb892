"""Digests that tell whether a file or folder is still what was written."""

from __future__ import annotations

import hashlib
import mmap
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellsign.errors import UserError

if TYPE_CHECKING:
    pass


LISTED = "files.sha256"


UNSEALED = "0" * 64


@dataclass(frozen=True)
class Seal:
    """Where a file holds the sha256 of its own bytes, taken with 64 zeros in its place.

    Attributes:
        mark: The bytes before it.
        search: Finds them: at the file's beginning or at its end.
    """

    mark: bytes
    search: Callable[[Any, bytes], int]


# What goes before a value of 64 bytes under the key "sha256": in Parquet's footer (Thrift's compact protocol), and in
# the JSON header of safetensors.
PARQUET = Seal(b"sha256\x18\x40", lambda data, mark: data.rfind(mark))


SAFETENSORS = Seal(b'"sha256":"', lambda data, mark: data.find(mark))


def write_seal(path: Path, seal: Seal) -> None:
    """Put a file's digest into the place that it holds for it; the file was written with `UNSEALED` there."""
    found = sha256_of_file(path)
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
        place = seal.search(data, seal.mark + UNSEALED.encode()) + len(seal.mark)
        data[place : place + len(found)] = found.encode()


def sealed(data: bytes | mmap.mmap, seal: Seal) -> bool | None:
    """Whether a file's bytes are those that were sealed; None when it holds no seal."""
    place = seal.search(data, seal.mark) + len(seal.mark)
    if place < len(seal.mark):
        return None
    with memoryview(data) as held:
        whole = hashlib.sha256(held[:place])
        whole.update(UNSEALED.encode())
        whole.update(held[place + len(UNSEALED) :])
        return bytes(held[place : place + len(UNSEALED)]) == whole.hexdigest().encode()


def check_sealed(path: Path) -> None:
    """Compare a safetensors file with the seal in it.

    Raises:
        UserError: it is damaged or has no seal.
    """
    with path.open("rb") as stream:
        whole = path.stat().st_size > 0
        if whole:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                whole = sealed(data, SAFETENSORS)
    if not whole:
        raise UserError(
            f"{path} is damaged: its sha256 is not the one in its header. "
            f"`rm -r {shlex.quote(str(path.parent))}` and run the same command: that training begins anew."
        )


def _listing(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a folder; hidden ones (Snakemake's, the system's) and the list itself left out."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    names = sorted(p.as_posix() for p in files if not any(part.startswith(".") for part in p.parts))
    return {name: sha256_of_file(folder / name) for name in names if name != LISTED}


def _listed(files: Mapping[str, str]) -> bytes:
    return "".join(f"{digest}  {name}\n" for name, digest in files.items()).encode()


def listed_files(text: str) -> dict[str, str]:
    """The sha256 by file name of a list, as ``sha256sum`` writes it."""
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}


def list_files(folder: Path) -> None:
    """Write the sha256 of every file of a folder into it, as ``sha256sum --check`` reads them."""
    (folder / LISTED).write_bytes(_listed(_listing(folder)))


def check_files(folder: Path) -> None:
    """Compare a folder's files with its list; one without a list (the user's own images) is taken as it is.

    Raises:
        UserError: a file is missing, is not listed or is not what was listed, or the list is damaged.
    """
    if not (folder / LISTED).is_file():
        return
    text, found = (folder / LISTED).read_bytes(), _listing(folder)
    if text == _listed(found):
        return
    again = (
        f"Bring it back from a copy, or `rm -r {shlex.quote(str(folder))}` and run the same command: it is made anew."
    )
    listed = listed_files(text.decode(errors="replace"))
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            raise UserError(f"{folder} is damaged: {name or LISTED} is missing or misspelt in {LISTED}. {again}")
        if name not in listed:
            raise UserError(f"{folder} is damaged: {name} is not in {LISTED}. {again}")
        if listed[name] != found[name]:
            raise UserError(
                f"{folder / name} is damaged: its sha256 is {found[name]}, {LISTED} says {listed[name]}. {again}"
            )
    raise UserError(f"{folder / LISTED} is damaged. {again}")


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
