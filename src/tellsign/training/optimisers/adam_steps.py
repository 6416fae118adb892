"""The steps of Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from tellsign.training.optimisers.base import Steps


class Adam(Steps):
    """Adam (Kingma & Ba 2014) and AdamW (``decoupled``; Loshchilov & Hutter 2019), over torch's functional form.

    Args:
        params: Trainable parameters, in a fixed order.
        lr: Learning rate; ``step`` may override it.
        betas: Decay rates of the first and second moment.
        eps: Added to the root of the second moment.
        weight_decay: L2 penalty, or decoupled decay when ``decoupled``.
        decoupled: AdamW instead of Adam.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr, self.betas, self.eps = lr, betas, eps
        self.weight_decay, self.decoupled = weight_decay, decoupled
        self.first = [torch.zeros_like(p) for p in self.params]
        self.second = [torch.zeros_like(p) for p in self.params]
        # a fused step counts on the device
        self.steps = [torch.zeros((), device=p.device if self.fused else "cpu") for p in self.params]

    @torch.no_grad()
    def step(self, lr: float | None = None) -> None:
        """Update every parameter that has a gradient."""
        gradients = self.gradients()
        adam(
            [self.params[i] for i, _ in gradients],
            [gradient for _, gradient in gradients],
            [self.first[i] for i, _ in gradients],
            [self.second[i] for i, _ in gradients],
            [],
            [self.steps[i] for i, _ in gradients],
            fused=self.fused,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.lr if lr is None else lr,
            weight_decay=self.weight_decay,
            eps=self.eps,
            maximize=False,
            decoupled_weight_decay=self.decoupled,
        )

    def state(self) -> dict[str, Tensor]:
        """All tensors needed to go on as if never stopped."""
        tensors: dict[str, Tensor] = {}
        for i, (a, b, n) in enumerate(zip(self.first, self.second, self.steps, strict=True)):
            tensors |= {f"first.{i}": a.contiguous(), f"second.{i}": b.contiguous(), f"steps.{i}": n}
        return tensors

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""
        for i in range(len(self.params)):
            self.first[i].copy_(state[f"first.{i}"])
            self.second[i].copy_(state[f"second.{i}"])
            self.steps[i].copy_(state[f"steps.{i}"])
