"""Who is at work in a folder: Snakemake's lock when its owner is dead, and one process at a time on resume state."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

log = logging.getLogger(__name__)


def _stamp(pid: int) -> str | None:
    """A text that tells this process from any later one with its number; None when it does not run."""
    try:
        return f"{socket.gethostname()} {pid} {psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def take_over(folder: Path) -> None:
    """Before Snakemake locks ``folder``: clear the lock of a Snakemake that was killed, and sign as the next owner.

    Snakemake's lock does not say whose it is, so every run of ours signs in ``.snakemake/owner``. A lock is cleared
    only when its signer ran on this machine and is dead; whatever else holds the folder keeps it.
    """
    locks, owner = folder / ".snakemake" / "locks", folder / ".snakemake" / "owner"
    held = list(locks.iterdir()) if locks.is_dir() else []
    if held:
        signed = owner.read_text(encoding="utf-8").strip() if owner.is_file() else ""
        parts = signed.split(" ")
        if len(parts) != 3 or parts[0] != socket.gethostname() or _stamp(int(parts[1])) == signed:
            return
        log.warning("clearing the lock of a run that was killed (process %s)", parts[1])
        for path in held:
            path.unlink()
    owner.parent.mkdir(exist_ok=True)
    owner.write_text(f"{_stamp(os.getpid())}\n", encoding="utf-8")


@contextlib.contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold ``work`` (resume state) until the block ends; a job that outlived a killed Snakemake is waited for."""
    work.parent.mkdir(parents=True, exist_ok=True)
    path = work.with_name(f"{work.name}.lock")
    while True:
        with path.open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            try:
                current = os.path.samestat(os.fstat(stream.fileno()), path.stat())
            except FileNotFoundError:
                current = False
            if current:  # else its holder removed the file while we waited, and newcomers lock another
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
