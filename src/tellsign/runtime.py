"""What surrounds a computation and cannot change its numbers: files, threads, device, progress, provenance."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import itertools
import json
import logging
import mmap
import os
import platform
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from tellsign.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

T = TypeVar("T")
log = logging.getLogger(__name__)


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
        list_files(part)
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with file_beside(path) as part:
        part.write_text(text, encoding="utf-8")


# ------------------------------------------------------------------------------------------------ whole and unchanged

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


# ------------------------------------------------------------------------------------------------ rows


def column(values: Sequence[Any] | np.ndarray) -> pa.Array:
    """An Arrow column of numbers, truth values or texts.

    Built from buffers, because ``pa.array`` imports pandas, which costs every job a second; nested lists, which few
    jobs write, go that way.
    """
    import numpy as np
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        held = np.ascontiguousarray(values)
        return pa.Array.from_buffers(pa.from_numpy_dtype(held.dtype), len(held), [None, pa.py_buffer(held)])
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


def write_rows(path: Path, columns: Mapping[str, Sequence[Any] | np.ndarray] | pa.Table) -> None:
    """Write a Parquet file whole or not at all; equal columns give equal bytes.

    Texts are stored once a file and numbered, however many there are (ids of images repeat in every checkpoint's
    scores); single-precision numbers, which do not repeat, byte by byte, which compresses best.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(columns, Mapping):
        arrays = [column(values) for values in columns.values()]
        table = pa.Table.from_arrays(arrays, names=list(columns))
    else:
        table = columns
    single = [held.name for held in table.schema if held.type == pa.float32()]
    repeated: Any = [name for name in table.column_names if name not in single]
    with file_beside(path) as part:
        pq.write_table(
            table.replace_schema_metadata({"sha256": UNSEALED}),
            part,
            compression="zstd",
            use_dictionary=repeated,
            column_encoding=dict.fromkeys(single, "BYTE_STREAM_SPLIT"),
            dictionary_pagesize_limit=2**30,
            row_group_size=2**26,
        )
        write_seal(part, PARQUET)


def read_rows(path: Path, columns: Sequence[str] | None = None, codes: Sequence[str] = ()) -> pa.Table:
    """Read a Parquet file, all of it or the columns named.

    Args:
        path: the file.
        columns: the columns to read; null for all.
        codes: columns of texts that are left as numbers with a dictionary of the different texts.

    Raises:
        UserError: it is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    again = f"Bring it back from a copy, or `rm {shlex.quote(str(path))}` and run the same command: it is made anew."
    try:
        data = path.read_bytes()  # what is verified is what is read, whoever replaces the file meanwhile
    except FileNotFoundError as problem:
        raise UserError(f"{path} cannot be read as Parquet: it is not there. {again}") from problem
    whole = sealed(data, PARQUET)
    if whole is False:
        raise UserError(f"{path} is damaged: its sha256 is not the one in its footer. {again}")
    try:  # without threads where one is allowed: Arrow's words when it gets none name no lack of memory
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=list(codes), pre_buffer=False) as stored:
            if whole is None and set(stored.metadata.metadata or {}) - {b"ARROW:schema"}:
                raise UserError(f"{path} is damaged: its footer is not the one that was written. {again}")
            return stored.read(
                None if columns is None else list(columns), use_threads=threads() > 1
            ).replace_schema_metadata(None)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as problem:
        raise UserError(f"{path} cannot be read as Parquet: {str(problem).splitlines()[0]}. {again}") from problem


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def progress(items: Iterable[T], total: int, what: str, every: float = 10.0) -> Iterator[T]:
    """Yield ``items`` and log ``what: done/total, rate`` every ``every`` seconds and at the end."""
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= every:
            rate = done / (now - start)
            log.info("%s: %d/%d, %.1f/s, %.0f s left", what, done, total, rate, (total - done) / rate)
            last = now
    seconds = time.monotonic() - start
    log.info("%s: %d/%d in %.1f s", what, done, total, seconds)


def threads() -> int:
    """Threads this job may use: ``OMP_NUM_THREADS`` (the rules set it), else 1."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


AMONG = "TELLSIGN_AMONG_GPUS"
"""Environment variable: among how many GPUs jobs choose, where the others are hidden (`tellsign.gpus`)."""


def visible_gpus() -> list[str]:
    """The CUDA devices that jobs on this machine may use, as CUDA_VISIBLE_DEVICES names them; torch is not imported."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        devices = [device.strip() for device in named.split(",") if device.strip()]
        return list(itertools.takewhile(lambda device: not device.startswith("-"), devices))  # -1 hides what follows
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def loader_threads(device: torch.device) -> int:
    """Threads that may make batches ahead of a device: a GPU's share of the cores; beside a CPU the job's own."""
    if device.type == "cpu":
        return threads()
    among = int(os.environ.get(AMONG, len(visible_gpus())))
    return max(1, len(os.sched_getaffinity(0)) // max(1, among))


def pick_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device and set the thread count.

    Raises:
        UserError: CUDA was asked for by name and there is none.
    """
    import torch

    torch.set_num_threads(threads())
    torch.set_flush_denormal(True)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device {name!r} was asked for, but torch sees no CUDA device. Try --device cpu.")
    return torch.device(name)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block (the initialisation of a network) under a seed of its own; torch's global state is restored."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def git_state() -> str:
    """The commit of the working tree, with ``+`` when it holds uncommitted changes; ``unknown`` outside git."""
    root = Path(__file__).parent

    def git(*args: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Versions of what can move a number's last bits."""
    names = ("tellsign", "torch", "torchvision", "timm", "open_clip_torch", "transformers", "nltk", "numpy", "pillow")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def provenance(**facts: Any) -> str:
    """JSON text: what made an artifact, in which code and versions; ``facts`` come first."""
    record = facts | {"git": git_state(), "versions": versions(), "machine": platform.machine()}
    return json.dumps(record, indent=2, default=str) + "\n"


def log_to_stderr() -> None:
    """Send log lines to standard error, where the rules' log files collect them."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
