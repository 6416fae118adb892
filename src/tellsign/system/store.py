"""Rows that cost much to compute, kept by key in shards that jobs and clones share.

A store is a folder: ``made.json`` says what made its rows, and each shard is a Parquet file named by the sha256 of
its bytes. Nothing is ever rewritten: a job adds shards, each whole or not at all. So a killed job loses at most one
shard, two jobs may add at once, and folders of two clones merge by copying.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellsign.errors import UserError
from tellsign.system.files import clear_stale, owner, write_text
from tellsign.system.integrity import sha256_of_file
from tellsign.system.locks import exclusive_lock
from tellsign.system.parquet import column, read_rows
from tellsign.system.progress import progress

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

Key = tuple[str, ...]


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """What differs between two nested mappings, a line each: ``captioner.beams is 5, not 1``."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for key in dict.fromkeys([*old, *new]):
            lines += differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
        return lines
    return [] if old == new else [f"{where} is {old!r}, not {new!r}"]


def rows_of_part(count: int, part: str, block: int) -> list[int]:
    """The rows that one of several jobs makes: every so many-th block of them.

    With a store's shard size as ``block``, the jobs together make the very shards that one job would.

    Args:
        count: Rows of all jobs.
        part: Which job of how many: ``2/8`` is the second of eight, ``1/1`` makes all.
        block: Rows that stay together.

    Raises:
        UserError: ``part`` is none.
    """
    numbers = re.fullmatch(r"(\d+)/(\d+)", part)
    number, jobs = map(int, numbers.groups()) if numbers else (0, 0)
    if not 1 <= number <= jobs:
        raise UserError(f"--part {part}: say which part of how many, from 1/8 to 8/8.")
    return [row for row in range(count) if row // block % jobs == number - 1]


@dataclass(frozen=True)
class Store:
    """Rows by key. A key may have several rows; all of them are in one shard.

    Attributes:
        folder: Where the shards are.
        keys: Names of the text columns that together are the key.
    """

    folder: Path
    keys: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path, keys: tuple[str, ...], made: Mapping[str, Any]) -> Store:
        """Open a store, or begin one.

        Args:
            folder: Where it is or shall be.
            keys: Names of the key columns.
            made: Everything that the rows depend on but the key.

        Raises:
            UserError: the folder holds rows that something else made; every difference is named.
        """
        label = folder / "made.json"
        if not label.exists():
            with exclusive_lock(label):  # jobs of several splits begin at once
                if not label.exists():
                    if any(folder.glob("*.parquet")):
                        raise UserError(
                            f"the cache {folder} has rows, but {label.name}, which says what made them, is gone. Bring "
                            "it back from a copy, or delete the folder; its rows are made anew."
                        )
                    write_text(label, json.dumps(made, indent=2, sort_keys=True) + "\n")
        try:
            recorded = json.loads(label.read_text(encoding="utf-8"))
        except ValueError as problem:
            raise UserError(f"{label} is damaged ({problem}). Delete the folder; its rows are made anew.") from None
        changes = differences(recorded, json.loads(json.dumps(made)))
        if changes:
            raise UserError(
                f"the cache {folder} was made otherwise, its rows cannot be used here: {'; '.join(changes)}. "
                "Give another folder, or delete this one and run the same command again."
            )
        clear_stale(folder)
        return cls(folder, keys)

    def shards(self) -> list[Path]:
        """The shards, in the order of their names."""
        return sorted(self.folder.glob("*.parquet"))

    def read(self) -> pa.Table | None:
        """All rows, None when there are none. Where shards share a key, the first one's rows count.

        Raises:
            UserError: a shard's bytes are not those that were written.
        """
        import pyarrow as pa

        parts, seen = [], set()
        for shard in self.shards():
            digest = sha256_of_file(shard)
            if not digest.startswith(shard.stem):
                raise UserError(
                    f"{shard} is damaged: its sha256 begins {digest[: len(shard.stem)]}. Delete it and run the same "
                    "command again; only its rows are made anew."
                )
            part = read_rows(shard)
            keys = self.keys_of(part)
            fresh = [key not in seen for key in keys]
            parts.append(part if all(fresh) else part.filter(column(fresh)))
            seen.update(keys)
        return pa.concat_tables(parts) if parts else None

    def keys_of(self, rows: pa.Table) -> list[Key]:
        """The key of each row."""
        return list(zip(*(rows[name].to_pylist() for name in self.keys), strict=True))

    def add(self, columns: Mapping[str, Any]) -> None:
        """Write a shard. Equal rows give an equal file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = [v if isinstance(v, pa.Array) else column(v) for v in columns.values()]
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_arrays(arrays, names=list(columns)), buffer, compression="zstd")
        data = buffer.getvalue().to_pybytes()
        part = self.folder / f".{uuid.uuid4().hex[:8]}.{owner()}.part"
        try:
            with part.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(self.folder / f"{hashlib.sha256(data).hexdigest()[:20]}.parquet")
        finally:
            part.unlink(missing_ok=True)

    def complete(
        self, wanted: Sequence[Key], make: Callable[[list[int]], Mapping[str, Any]], shard_size: int, what: str
    ) -> pa.Table | None:
        """Make the rows of the keys that the store lacks, shard by shard.

        Args:
            wanted: A key for each position.
            make: Positions in ``wanted`` to columns, the key columns first; at least one row for each position.
            shard_size: Keys that are made between two writes.
            what: For the log, such as ``captions``.

        Returns:
            All rows of the store.
        """
        rows = self.read()
        known = set() if rows is None else set(self.keys_of(rows))
        first = {key: i for i, key in reversed(list(enumerate(wanted)))}
        todo = sorted(i for key, i in first.items() if key not in known)
        log.info("%s: %d of %d are in %s, %d to make", what, len(first) - len(todo), len(first), self.folder, len(todo))
        chunks = [todo[i : i + shard_size] for i in range(0, len(todo), shard_size)]
        for chunk in progress(chunks, len(chunks), f"shards of {shard_size} {what}"):
            self.add(make(chunk))
        return self.read() if todo else rows
