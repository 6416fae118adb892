"""Which GPUs of this machine a job computes on: free ones, each held by one job at a time.

Snakemake counts GPUs but hands none out: without more, every job on a machine with four would take the first. A job
therefore locks a file for each GPU that it takes and hides the others from CUDA. The lock belongs to the process and
its children and ends with the last of them, however they end. (``filelock`` cannot serve: its locks are not inherited,
and it opens the file for writing, which may be another user's.)
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tellsign.errors import UserError
from tellsign.system.devices import AMONG, visible_gpus

log = logging.getLogger(__name__)

# The same for every user and job of a machine, unlike TMPDIR.
LOCKS = Path("/tmp")


def lock_of(gpu: str) -> int:
    """Open the lock file of a GPU, for whoever on this machine asks; returns its file descriptor.

    Under SLURM the numbers of GPUs may count within the job, so jobs of different allocations share no file.
    """
    scope = os.environ.get("SLURM_JOB_ID", "machine")
    name = gpu.replace("/", "_")
    path = LOCKS / f"tellsign-gpu-{scope}-{name}.lock"
    # to lock a file one need not be able to write it: another user's will do
    with contextlib.suppress(FileExistsError):
        made = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.fchmod(made, 0o644)  # whatever this user's umask
        os.close(made)
    return os.open(path, os.O_RDONLY)


def try_to_take(gpus: list[str], count: int) -> dict[str, int]:
    """Lock ``count`` free GPUs, or none; returns their file descriptors."""
    locked: dict[str, int] = {}
    for gpu in gpus:
        if len(locked) == count:
            break
        descriptor = lock_of(gpu)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked[gpu] = descriptor
        except BlockingIOError:
            os.close(descriptor)
    if len(locked) < count:  # two jobs that each keep one and wait for another would wait for ever
        for descriptor in locked.values():
            os.close(descriptor)
        return {}
    return locked


@contextlib.contextmanager
def reserve_gpus(count: int, every: float = 1.0) -> Iterator[None]:
    """Compute on ``count`` free GPUs until the block ends; wait until there are so many.

    Where this machine has no GPU, nothing is taken and the block computes on the CPU; so it does where ``count`` is 0.
    CUDA must not have been used before.

    Args:
        count: how many.
        every: seconds between two looks.

    Raises:
        UserError: there are never so many.
    """
    gpus = visible_gpus()
    if len(gpus) < count and gpus:
        raise UserError(
            f"{count} GPUs were asked for, but this machine has {len(gpus)} ({', '.join(gpus)}). Ask for fewer, such "
            f"as --set-resources pretrain:gpu={len(gpus)}."
        )
    if not gpus:
        yield
        return
    reserved = try_to_take(gpus, count)
    if count and not reserved:
        log.info("waiting for %d of the GPUs %s: other jobs compute on them", count, ", ".join(gpus))
    while count and not reserved:
        time.sleep(every)
        reserved = try_to_take(gpus, count)
    before = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", AMONG)}
    for descriptor in reserved.values():
        os.set_inheritable(descriptor, True)  # whom this process starts computes on them too
    log.info("GPUs: %s", ", ".join(reserved) or "none")
    os.environ |= {"CUDA_VISIBLE_DEVICES": ",".join(reserved), AMONG: str(len(gpus))}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        for descriptor in reserved.values():
            os.close(descriptor)
