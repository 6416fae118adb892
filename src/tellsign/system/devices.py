"""Devices and threads that a job may use; what they are set to is `tellsign.networks.determinism`'s matter."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def threads() -> int:
    """Threads this job may use: ``OMP_NUM_THREADS`` (the rules set it), else 1."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


AMONG = "TELLSIGN_AMONG_GPUS"
"""Environment variable: among how many GPUs jobs choose, where the others are hidden (`tellsign.system.gpus`)."""


def visible_gpus() -> list[str]:
    """The CUDA devices that jobs on this machine may use, as CUDA_VISIBLE_DEVICES names them; torch is not imported."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        devices = [device.strip() for device in named.split(",") if device.strip()]
        return list(itertools.takewhile(lambda device: not device.startswith("-"), devices))  # -1 hides what follows
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on a device; a copy from the CPU to CUDA is one that the host does not wait for."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def loader_threads(device: torch.device) -> int:
    """Threads that may make batches ahead of a device: a GPU's share of the cores; beside a CPU the job's own."""
    if device.type == "cpu":
        return threads()
    among = int(os.environ.get(AMONG, len(visible_gpus())))
    return max(1, len(os.sched_getaffinity(0)) // max(1, among))
