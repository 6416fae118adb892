"""Rows in Parquet files: equal columns give equal bytes, and damage is noticed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tellsign.errors import UserError
from tellsign.system.devices import threads
from tellsign.system.files import file_beside
from tellsign.system.integrity import UNSEALED, matches_seal, write_seal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

T = TypeVar("T")


def column(values: Sequence[Any] | np.ndarray) -> pa.Array:
    """An Arrow column of numbers, truth values or texts.

    Built from buffers, because ``pa.array`` imports pandas whatever it is given: 391 modules, 1.3 to 1.7 s of processor
    time in a fresh process (pyarrow 26, 14 runs). Nested lists, which few jobs write, go that way.
    """
    import numpy as np
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        numbers = np.ascontiguousarray(values)
        return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, pa.py_buffer(numbers)])
    kinds = {type(v) for v in values}
    if kinds <= {str}:
        texts = [v.encode() for v in values]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(texts))])
    if kinds <= {bool}:
        bits = np.packbits(np.asarray(values, dtype=bool), bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
    if kinds <= {int}:
        return column(np.asarray(values, dtype=np.int64))
    if kinds <= {float, int}:
        return column(np.asarray(values, dtype=np.float64))
    return pa.array(values)


def write_rows(
    path: Path,
    columns: Mapping[str, Sequence[Any] | np.ndarray] | pa.Table,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a Parquet file whole or not at all; equal columns give equal bytes.

    Texts are stored once a file and numbered, however many there are (ids of images repeat in every checkpoint's
    scores); single-precision numbers, which do not repeat, byte by byte, which compresses best.

    Args:
        path: the file.
        columns: its columns by name.
        notes: texts by name about all rows, for :func:`read_notes`; they stand in the file's footer.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(columns, Mapping):
        arrays = [column(values) for values in columns.values()]
        table = pa.Table.from_arrays(arrays, names=list(columns))
    else:
        table = columns
    single = [field.name for field in table.schema if field.type == pa.float32()]
    repeated: Any = [name for name in table.column_names if name not in single]
    with file_beside(path) as part:
        pq.write_table(
            table.replace_schema_metadata({**(notes or {}), "sha256": UNSEALED}),
            part,
            compression="zstd",
            use_dictionary=repeated,
            column_encoding=dict.fromkeys(single, "BYTE_STREAM_SPLIT"),
            dictionary_pagesize_limit=2**30,
            row_group_size=2**26,
        )
        write_seal(part)


def read_rows(path: Path, columns: Sequence[str] | None = None, codes: Sequence[str] = ()) -> pa.Table:
    """Read a Parquet file, all of it or the columns named.

    Args:
        path: the file.
        columns: the columns to read; null for all.
        codes: columns of texts that are left as numbers with a dictionary of the different texts.

    Raises:
        UserError: it is missing or damaged.
    """
    whole = _read(path, codes, lambda stored: stored.read(None if columns is None else list(columns), threads() > 1))
    return whole.replace_schema_metadata(None)


def read_notes(path: Path) -> dict[str, str]:
    """The notes that :func:`write_rows` left in a Parquet file.

    Raises:
        UserError: it is missing or damaged.
    """
    footer = _read(path, (), lambda stored: stored.metadata.metadata or {})
    return {key.decode(): text.decode() for key, text in footer.items() if key not in (b"sha256", b"ARROW:schema")}


def _read(path: Path, codes: Sequence[str], read: Callable[[pq.ParquetFile], T]) -> T:
    """What ``read`` makes of a Parquet file that is whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    again = f"Bring it back from a copy, or `rm {shlex.quote(str(path))}` and run the same command: it is made anew."
    try:
        data = path.read_bytes()  # what is verified is what is read, whoever replaces the file meanwhile
    except FileNotFoundError as problem:
        raise UserError(f"{path} cannot be read as Parquet: it is not there. {again}") from problem
    unharmed = matches_seal(data)
    if unharmed is False:
        raise UserError(f"{path} is damaged: its sha256 is not the one in its footer. {again}")
    try:  # without threads where one is allowed: Arrow's words when it gets none name no lack of memory
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=list(codes), pre_buffer=False) as stored:
            if unharmed is None and set(stored.metadata.metadata or {}) - {b"ARROW:schema"}:
                raise UserError(f"{path} is damaged: its footer is not the one that was written. {again}")
            return read(stored)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as problem:
        raise UserError(f"{path} cannot be read as Parquet: {str(problem).splitlines()[0]}. {again}") from problem
