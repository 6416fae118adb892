"""The artifacts in ``data/`` by their paths: which file belongs to which, whether it is whole, lists of two branches.

Of two branches' lists an artifact is taken from one side, never mixed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from tellsign.stages.registry import FINGERPRINT, STAGES, Stage
from tellsign.system.integrity import MANIFEST, listed_files, matches_seal, sha256_of_file

DATA = "data"
STORE = re.compile(r"data/store/[^/]+\.[0-9a-f]{12}/(?:made\.json|[0-9a-f]{20}\.parquet)")


def _pattern(stage: Stage) -> str:
    """A stage's path as a pattern; a folder's files lie below it."""
    escaped = re.escape(stage.path).replace(r"\{name\}", r"[^.][^\0]*?").replace(r"\{fp\}", FINGERPRINT)
    return rf"{escaped}(?=/|$)" if stage.folder else escaped


UNITS = re.compile("|".join(_pattern(stage) for stage in STAGES.values() if stage.path.startswith(f"{DATA}/")))


def unit_of(path: str) -> str | None:
    """The artifact that a file of ``data/`` belongs to, its path; a file of a store is one by itself.

    None for what is nobody's artifact.
    """
    if STORE.fullmatch(path):
        return path
    match = UNITS.match(path)
    whole = match is not None and (match.end() == len(path) or path[match.end()] == "/")
    return match.group() if match is not None and whole else None


def units_of(entries: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Entries (path → md5) by the artifact they belong to; other files stand alone."""
    units: dict[str, dict[str, str]] = {}
    for path, md5 in entries.items():
        units.setdefault(unit_of(path) or path, {})[path] = md5
    return units


def files_below(folder: Path) -> Iterator[str]:
    """Every file of a tree of folders that is not hidden, as ``folder/...`` with slashes."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (PurePosixPath(place, name).as_posix() for name in sorted(files) if not name.startswith("."))


def covering(new: Iterable[str], others: Iterable[str]) -> list[str]:
    """The highest folders, below the stages' at most, that hold new artifacts and nothing else.

    DVC takes as long for a folder as for a file, and lists again all that a folder holds.

    Args:
        new: Paths of artifacts.
        others: Files that must not come along.
    """
    mixed = {DATA} | {parent.as_posix() for path in others for parent in PurePosixPath(path).parents}
    tops = {}
    for path in new:
        top = PurePosixPath(path)
        while top.parent.as_posix() not in mixed:
            top = top.parent
        tops[top.as_posix()] = None
    return sorted(tops)


def damage(unit: str, files: Iterable[str], place: Callable[[str], Path]) -> str | None:
    """What contradicts the seal of an artifact; None when nothing does.

    A Parquet file holds the sha256 of its own bytes, a folder the list of its files' (`tellsign.system`); a store's
    shard is named by the beginning of its sha256 instead.

    Args:
        unit: The artifact's path.
        files: Paths of its files.
        place: Where the bytes of a path are.
    """
    if STORE.fullmatch(unit) and unit.endswith(".parquet"):
        digest, name = sha256_of_file(place(unit)), PurePosixPath(unit).stem
        return None if digest.startswith(name) else f"its sha256 begins {digest[:20]}, its name says {name}"
    if unit.endswith(".parquet"):
        return None if matches_seal(place(unit).read_bytes()) else "its sha256 is not the one in its footer"
    paths = set(files)
    if paths == {unit}:  # a page, or what begins a store
        return None
    note = f"{unit}/{MANIFEST}"
    if note not in paths:
        return f"it has no {MANIFEST}"
    listed = listed_files(place(note).read_text(encoding="utf-8", errors="replace"))
    for name in sorted({path.removeprefix(f"{unit}/") for path in paths - {note}} | listed.keys()):
        if name not in listed:
            return f"its {MANIFEST} does not name {name}"
        if f"{unit}/{name}" not in paths:
            return f"its {MANIFEST} names {name}, which is missing"
        digest = sha256_of_file(place(f"{unit}/{name}"))
        if digest != listed[name]:
            return f"the sha256 of {name} is {digest}, {MANIFEST} says {listed[name]}"
    return None


def merged(
    ancestor: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The list of both branches' artifacts, and the artifacts that both made.

    An artifact that one branch added, or dropped, since their ancestor is in, or out. Where both made one, their
    recipes are equal and either is right: ours is kept, whole, since the seal of one side does not fit the other's
    bytes. One that was dropped on one side and made anew on the other stays.
    """
    sides = [units_of(ancestor), units_of(ours), units_of(theirs)]
    entries: dict[str, str] = {}
    both = []
    for unit in dict.fromkeys(unit for side in sides for unit in side):
        before, our, their = (side.get(unit) for side in sides)
        if our == their or their == before:
            chosen = our
        elif our == before:
            chosen = their
        else:
            chosen = our or their
            if our and their:
                both.append(unit)
        entries |= chosen or {}
    return entries, both
