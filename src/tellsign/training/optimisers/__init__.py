"""Optimisers of the training loop, one file an entry.

They are ours, over torch's functional forms, because a job that makes one of ``torch.optim``'s classes first imports
torch._dynamo and sympy, 913 modules: 5.2 to 6.7 s of processor time in a fresh process until its first step is done
(torch 2.15, median 6.6 s of five), where the functional form takes 1 ms. A training of the demo takes less than that.
Their states are plain tensors, which safetensors keeps for resuming, without pickle. On the CPU a step gives the bytes
that ``torch.optim`` gives; on CUDA it is the fused one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from tellsign.errors import UserError, choose
from tellsign.training.optimisers.adam import Adam
from tellsign.training.optimisers.sgd import Sgd


class Optimiser(Protocol):
    """What the training loop needs of an optimiser."""

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def step(self, lr: float | None = None) -> None:
        """Update every parameter that has a gradient."""

    def state(self) -> dict[str, Tensor]:
        """All tensors needed to go on as if never stopped."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""


OPTIMISERS: dict[str, Callable[[Iterable[nn.Parameter], Mapping[str, Any]], Optimiser]] = {
    "adam": Adam.of,
    "adamw": Adam.of,
    "sgd": Sgd.of,
}


def build_optimiser(params: Iterable[nn.Parameter], settings: Mapping[str, Any]) -> Optimiser:
    """The optimiser of a recipe's ``optimiser`` section.

    Raises:
        UserError: unknown name, or nesterov without momentum.
    """
    if settings["name"] == "sgd" and settings["nesterov"] and not settings["momentum"]:
        raise UserError("optimiser.nesterov looks ahead along the velocity; give optimiser.momentum above 0.")
    return choose(OPTIMISERS, settings["name"], "optimiser")(params, settings)
