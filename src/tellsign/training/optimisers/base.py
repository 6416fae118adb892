"""What the steps of all optimisers share: their parameters and gradients."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class Steps:
    """Parameters that steps update.

    Args:
        params: In a fixed order; those that are not trainable are left out.

    Attributes:
        fused: Whether a step is one kernel: where all parameters lie on CUDA, or all on the CPU, which takes a fifth of
            the time of a step tensor by tensor.
    """

    def __init__(self, params: Iterable[nn.Parameter]) -> None:
        self.params = [p for p in params if p.requires_grad]
        self.fused = {p.device.type for p in self.params} in ({"cuda"}, {"cpu"})

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def gradients(self) -> list[tuple[int, Tensor]]:
        """Place and gradient of every parameter that has one."""
        return [(i, p.grad) for i, p in enumerate(self.params) if p.grad is not None]
