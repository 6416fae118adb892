"""The steps of stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from tellsign.training.optimisers.base import Steps


class Sgd(Steps):
    """Stochastic gradient descent with momentum, over torch's functional form.

    The velocity is v ← momentum v + (1 - dampening) g and the step lr v (nesterov: lr (g + momentum v)): torch's form
    of Sutskever et al. (2013), where the rate stands outside the velocity. It starts from 0, so that a dampened first
    step is as short as all others; torch's own is not dampened.

    Args:
        params: Trainable parameters, in a fixed order.
        lr: Learning rate; ``step`` may override it.
        momentum: Decay of the velocity; 0 for none.
        nesterov: Look ahead along the velocity.
        weight_decay: L2 penalty, part of g.
        dampening: What of g does not enter the velocity, as a share.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
    ) -> None:
        super().__init__(params)
        self.lr, self.momentum, self.nesterov, self.weight_decay = lr, momentum, nesterov, weight_decay
        self.dampening = dampening
        self.velocity = [torch.zeros_like(p) for p in self.params]

    @torch.no_grad()
    def step(self, lr: float | None = None) -> None:
        """Update every parameter that has a gradient."""
        gradients = self.gradients()
        sgd(
            [self.params[i] for i, _ in gradients],
            [gradient for _, gradient in gradients],
            [self.velocity[i] for i, _ in gradients],
            fused=self.fused,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.lr if lr is None else lr,
            dampening=self.dampening,
            nesterov=self.nesterov,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """All tensors needed to go on as if never stopped."""
        return {f"velocity.{i}": v.contiguous() for i, v in enumerate(self.velocity)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""
        for i, v in enumerate(self.velocity):
            v.copy_(state[f"velocity.{i}"])
