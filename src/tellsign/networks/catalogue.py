"""Where weights are published: ``config/weights.yaml``, and detectors' released weights of ``config/detectors.yaml``.

Plain Python: a dry run needs this module.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from tellsign.errors import UserError, near_miss
from tellsign.networks.hub import COMMIT
from tellsign.schema.detectors import DetectorRecord, Released
from tellsign.schema.loading import build
from tellsign.schema.settings import Settings
from tellsign.schema.strict_yaml import read_yaml
from tellsign.schema.weights import WeightsEntry

CATALOGUE = Path("config/weights.yaml")
DETECTORS = Path("config/detectors.yaml")

T = TypeVar("T", bound=Settings)


class Catalogue(Mapping[str, WeightsEntry]):
    """Entries of both files by name; a detector's released weights are called ``DETECTOR-NAME``.

    The detectors are read when a name is asked for that ``config/weights.yaml`` has not.

    Args:
        home: The project's folder.
    """

    def __init__(self, home: Path) -> None:
        self._home, self._pretrained = home, read_catalogue(home / CATALOGUE)

    @functools.cached_property
    def _released(self) -> dict[str, WeightsEntry]:
        path = self._home / DETECTORS
        released = released_weights(read_detectors(path)) if path.is_file() else {}
        if twice := sorted(released.keys() & self._pretrained.keys()):
            raise UserError(f"{path.name}: {CATALOGUE} has an entry {twice[0]!r} too. Rename one of them.")
        return released

    def __getitem__(self, name: str) -> WeightsEntry:
        return self._pretrained[name] if name in self._pretrained else self._released[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._pretrained
        yield from self._released

    def __len__(self) -> int:
        return len(self._pretrained) + len(self._released)


def read_catalogue(path: Path) -> dict[str, WeightsEntry]:
    """Read ``config/weights.yaml`` strictly.

    Raises:
        UserError: names the entry and what is wrong with it.
    """
    catalogue = _read(WeightsEntry, path)
    for name, entry in catalogue.items():
        where = f"{path.name}: {name}"
        if (entry.repository is None) == (entry.url is None):
            raise UserError(f"{where}: needs either repository (on huggingface.co) or url.")
        _check_files(entry, name, where)
        if entry.url is not None and not entry.single:
            raise UserError(f"{where}: url names one file, so files must be one plain name.")
        if entry.revision != "main" and not COMMIT.fullmatch(entry.revision):
            raise UserError(
                f"{where}: revision is {entry.revision!r}; allowed: a whole commit (40 hex digits), or main."
            )
        for file, digest in entry.sha256.items():
            if not entry.matches(file):
                raise UserError(
                    f"{where}: sha256 names {file!r}, which is none of its files.{near_miss(file, entry.names)}"
                )
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise UserError(f"{where}: the sha256 of {file} must be 64 hex digits, got {digest!r}.")
    return catalogue


def read_detectors(path: Path) -> dict[str, DetectorRecord]:
    """Read ``config/detectors.yaml`` strictly.

    Raises:
        UserError: names the detector and what is wrong with it.
    """
    return _read(DetectorRecord, path)


def released_weights(detectors: Mapping[str, DetectorRecord]) -> dict[str, WeightsEntry]:
    """The released checkpoints of detectors as entries of the catalogue.

    Raises:
        UserError: a file would lie outside the folder of weights.
    """
    entries = {}
    for detector, record in detectors.items():
        for short, released in record.checkpoints.items():
            name = f"{detector}-{short}"
            entries[name] = _entry(record, released)
            _check_files(entries[name], name, f"{DETECTORS.name}: {name}")
    return entries


def _entry(record: DetectorRecord, released: Released) -> WeightsEntry:
    code = record.code
    return WeightsEntry(
        files=(released.file,),
        megabytes=released.megabytes,
        licence=code.licence,
        papers=(),
        page=code.page,
        url=released.url or (f"{code.page}/raw/{code.commit}/{released.path}" if released.path else None),
        get=released.get,
        sha256={released.file: released.sha256} if released.sha256 else {},
        blob=released.blob,
        tensors=released.tensors,
        detector=record.name,
    )


def _read(kind: type[T], path: Path) -> dict[str, T]:
    stored = read_yaml(path)
    if not isinstance(stored, Mapping):
        raise UserError(f"{path}: expected a mapping from names to entries, got {stored!r}.")
    return {str(name): build(kind, data, f"{path.name}: {name}") for name, data in stored.items()}


def _check_files(entry: WeightsEntry, name: str, where: str) -> None:
    """Raise a UserError where a file would lie outside the entry's folder."""
    for file in (name, *entry.files):
        if not file or file.startswith(("/", "~")) or {".", ".."} & set(re.split(r"[/\\]", file)):
            raise UserError(f"{where}: {file!r} would lie outside the folder of weights; give a plain relative name.")
