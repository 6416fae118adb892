"""What the training loop needs of an optimiser, and the one that a recipe names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tellsign.training.optimisers import OPTIMISERS

if TYPE_CHECKING:
    from torch import Tensor, nn


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


def build_optimiser(params: Iterable[nn.Parameter], settings: Mapping[str, Any]) -> Optimiser:
    """The optimiser of a recipe's ``optimiser`` section.

    Raises:
        UserError: unknown name, or settings that do not fit together.
    """
    options = dict(settings)
    return OPTIMISERS.load(options.pop("name"))(params, **options)
