"""Digests that tell whether a file or folder is still what was written.

There are two forms. A folder lists the sha256 of its files in ``files.sha256``, which ``sha256sum --check`` reads. A
single Parquet file holds the sha256 of its own bytes in its footer: Parquet's page checksums leave the footer and the
pages' headers out, so that of the 719 bytes of a small file 223 can be flipped unnoticed (pyarrow 26). A store's shards
are named by their sha256 as well, because jobs and clones add them without a moment at which one list is whole.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from tellsign.errors import UserError

MANIFEST = "files.sha256"

# A file written in the same clock tick as its stat was taken can change again without a trace in the stat;
# one this much older than the moment of hashing cannot. (Git treats its own index in the same way.)
SETTLED_NS = 2_000_000_000

# ------------------------------------------------------------------------------------------------ single files


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_blob(path: Path) -> str:
    """Git's id of a file: what a public repository states of each of its files."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()


def sha256_once(path: Path) -> str:
    """Hex sha256 of a file's bytes, read once a process as long as its size and times stay as they were.

    A job verifies its inputs when it starts and again when it reads them; gigabytes of weights are hashed once.
    """
    status = path.stat()
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if max(status.st_mtime_ns, status.st_ctime_ns) > time.time_ns() - SETTLED_NS:
        return sha256_of_file(path)
    return _sha256_of_settled(path, stamp)


@functools.cache
def _sha256_of_settled(path: Path, stamp: tuple[int, ...]) -> str:
    return sha256_of_file(path)


UNSEALED = "0" * 64
"""Stands in a Parquet file's footer, under the key "sha256", while its digest is taken."""

_MARK = b"sha256\x18\x40"  # what goes before that value in Thrift's compact protocol: the key, a text of 64 bytes


def write_seal(path: Path) -> None:
    """Put a Parquet file's digest into its footer; the file was written with `UNSEALED` there."""
    digest = sha256_of_file(path).encode()
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
        start = data.rfind(_MARK + UNSEALED.encode()) + len(_MARK)
        data[start : start + len(digest)] = digest


def matches_seal(data: bytes) -> bool | None:
    """Whether a Parquet file's bytes are those that were sealed; None when it holds no seal."""
    start = data.rfind(_MARK) + len(_MARK)
    if start < len(_MARK):
        return None
    end = start + len(UNSEALED)
    with memoryview(data) as view:
        digest = hashlib.sha256(view[:start])
        digest.update(UNSEALED.encode())
        digest.update(view[end:])
        return bytes(view[start:end]) == digest.hexdigest().encode()


# ------------------------------------------------------------------------------------------------ folders


def _digests_of(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a folder; hidden ones (Snakemake's, the system's) and the manifest left out."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    names = sorted(p.as_posix() for p in files if not any(part.startswith(".") for part in p.parts))
    return {name: sha256_once(folder / name) for name in names if name != MANIFEST}


def manifest_text(digests: Mapping[str, str]) -> str:
    """A manifest, as ``sha256sum`` writes it, from the sha256 by file name."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def listed_files(text: str) -> dict[str, str]:
    """The sha256 by file name of a manifest."""
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}


def read_manifest(folder: Path) -> dict[str, str]:
    """The sha256 by file name that a folder's manifest lists; empty where it has none."""
    path = folder / MANIFEST
    return listed_files(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else {}


def write_manifest(folder: Path) -> None:
    """Write the sha256 of every file of a folder into it."""
    (folder / MANIFEST).write_text(manifest_text(_digests_of(folder)), encoding="utf-8")


def check_files(folder: Path, advice: str | None = None) -> None:
    """Compare a folder's files with its manifest; one without (the user's own images) is taken as it is.

    Args:
        folder: The folder.
        advice: What to do about damage; None for what holds of every artifact.

    Raises:
        UserError: a file is missing, is not listed or is not what was listed, or the manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        return
    data, digests = (folder / MANIFEST).read_bytes(), _digests_of(folder)
    if data == manifest_text(digests).encode():
        return
    advice = advice or (
        f"Bring it back from a copy, or `rm -r {shlex.quote(str(folder))}` and run the same command: it is made anew."
    )
    listed = listed_files(data.decode(errors="replace"))
    for name in sorted(listed.keys() | digests.keys()):
        if name not in digests:
            raise UserError(f"{folder} is damaged: {name or MANIFEST} is missing or misspelt in {MANIFEST}. {advice}")
        if name not in listed:
            raise UserError(f"{folder} is damaged: {name} is not in {MANIFEST}. {advice}")
        if listed[name] != digests[name]:
            raise UserError(
                f"{folder / name} is damaged: its sha256 is {digests[name]}, {MANIFEST} says {listed[name]}. {advice}"
            )
    raise UserError(f"{folder / MANIFEST} is damaged. {advice}")
