"""Who is at work in a folder: Snakemake's lock when its owner is dead, and one process at a time on resume state."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import FileLock

from tellsign.system.files import write_text

log = logging.getLogger(__name__)


def _stamp(pid: int) -> str | None:
    """A text that tells this process from any later one with its number; None when it does not run.

    On Linux by the ticks between the machine's start and its own, which setting the clock does not change.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").partition("-")[0]
        return f"{socket.gethostname()} {pid} {boot}-{status.rpartition(')')[2].split()[19]}"
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        return f"{socket.gethostname()} {pid} {psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def clear_stale_lock(folder: Path) -> None:
    """Before Snakemake locks ``folder``: clear the lock of a Snakemake that was killed, and sign as the next owner.

    Snakemake's lock does not say whose it is, so every run of ours signs in a file of its own in
    ``.snakemake/owners``: two that start at once both have signed before one of them locks. A lock is cleared only when
    all signers ran on this machine and are dead; whatever else holds the folder keeps it. No library does this:
    ``snakemake --unlock`` clears the lock of a living run as well.
    """
    locks, owners = folder / ".snakemake" / "locks", folder / ".snakemake" / "owners"
    owners.mkdir(parents=True, exist_ok=True)
    with file_lock(owners.with_name("owners.lock")):  # of two that start now, the second sees the first's signature
        lock_files = list(locks.iterdir()) if locks.is_dir() else []
        signed = {path: path.read_text(encoding="utf-8").strip() for path in owners.glob("[!.]*")}
        lives = _may_run if lock_files else _runs
        dead = [path for path, text in signed.items() if not lives(text)]
        if lock_files and signed and len(dead) == len(signed):
            log.warning("clearing the lock of a run that was killed (%s)", ", ".join(signed.values()))
            for path in lock_files:
                path.unlink(missing_ok=True)
        for path in dead:
            path.unlink(missing_ok=True)
        write_text(owners / f"{socket.gethostname()}-{os.getpid()}", f"{_stamp(os.getpid())}\n")


def _stamp_of(signed: str) -> str | None:
    """The stamp of the process of this machine that has the number in a signature; None when none runs."""
    parts = signed.split(" ")
    return _stamp(int(parts[1])) if len(parts) == 3 and parts[1].isdigit() else None


def _runs(signed: str) -> bool:
    """Whether who signed so is a process of this machine that runs."""
    return _stamp_of(signed) == signed


def _may_run(signed: str) -> bool:
    """Whether who signed so may be at work; of another machine's process, and of nonsense, we cannot know."""
    here = signed.split(" ")[0] == socket.gethostname() and signed.count(" ") == 2
    return not here or _runs(signed)


def file_lock(path: Path) -> FileLock:
    """The lock of a file, which ends with the process that holds it, however that ends; waits for ever.

    Raises:
        OSError: the file system has no such locks. (One that stands for itself would outlive a kill.)
    """
    return FileLock(path, fallback_to_soft=False)


@contextlib.contextmanager
def exclusive_lock(work: Path) -> Iterator[None]:
    """Hold ``work`` (resume state) until the block ends; a job that outlived a killed Snakemake is waited for."""
    work.parent.mkdir(parents=True, exist_ok=True)
    path = work.with_name(f"{work.name}.lock")
    with file_lock(path):  # whoever waited for a file that its holder then removed locks its successor
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
