"""What the numbers of a computation depend on beside its code and settings: torch's global state, set in one place.

This module enters the fingerprints of what is computed; `tellsign.system` does not and sets none of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import nn

from tellsign.errors import UserError
from tellsign.system.devices import threads

Network = TypeVar("Network", bound=nn.Module)


def pick_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device and set how this process computes.

    It computes with as many threads as the job may use, and numbers too small for full precision are zero, which
    spares a CPU a hundredfold slowdown on them. Single precision is single precision: by default a GPU would round
    what convolutions multiply to TF32.

    Raises:
        UserError: CUDA was asked for by name and there is none.
    """
    torch.set_num_threads(threads())
    torch.set_flush_denormal(True)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device {name!r} was asked for, but torch sees no CUDA device. Try --device cpu.")
    return torch.device(name)


def placed(model: Network, device: torch.device) -> Network:
    """A network on a device. On CUDA the maps of one that is mostly convolutions lie channels last, which is faster."""
    parameters = list(model.parameters())
    kernels = sum(p.numel() for p in parameters if p.dim() == 4)
    if device.type == "cuda" and 2 * kernels > sum(p.numel() for p in parameters):
        return model.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model.to(device)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block (the initialisation of a network) under a seed of its own; torch's global state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Run a block whose layers draw from torch's global state (dropout) under a seed that a generator draws."""
    with seeded(int(torch.randint(2**31, (), generator=generator))):
        yield
