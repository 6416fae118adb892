"""What the steps of all optimisers share: their parameters and gradients."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class Steps:
    """Parameters that steps update.

    Args:
        params: In a fixed order; those that are not trainable are left out.

    Attributes:
        fused: Whether a step is one kernel, as on CUDA.
    """

    def __init__(self, params: Iterable[nn.Parameter]) -> None:
        self.params = [p for p in params if p.requires_grad]
        self.fused = bool(self.params) and all(p.is_cuda for p in self.params)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def gradients(self) -> list[tuple[int, Tensor]]:
        """Place and gradient of every parameter that has one."""
        return [(i, p.grad) for i, p in enumerate(self.params) if p.grad is not None]
