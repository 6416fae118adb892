"""How the weights of a head start."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Head = TypeVar("Head", bound=nn.Module)


def started(head: Head, init_std: float | None) -> Head:
    """Start the weights of linear layers as N(0, init_std²), in place; null keeps torch's own start, as biases do."""
    if init_std is not None:
        for module in head.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, init_std)
    return head
