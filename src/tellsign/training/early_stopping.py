"""Early stopping by the accuracy on validation images."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)


@dataclass
class EarlyStop:
    """Lowers the learning rate when a validation accuracy stops rising, and ends the training when it is low enough.

    Args:
        accuracy: Gives the accuracy on the validation images; draws nothing.
        patience: The rate is multiplied by ``factor`` after so many epochs in a row without progress.
        factor: See there.
        min_lr: Training ends before an epoch whose rate would be lower.
        delta: Progress is an accuracy of at least ``best + delta``.

    Attributes:
        best: Accuracy of the last epoch that made progress.
        epoch: That epoch (1-based); its weights are the ones to keep.
        waited: Epochs without progress since then or since the rate fell.
        drops: How often the rate fell.

    Source: CNNDet (Wang et al. 2020), training details: ten times less after 5 epochs without 0.1 % more accuracy, down
        to 1e-6. As in its code, epochs at ``min_lr`` itself are still trained; unlike there, a fall of the rate leaves
        ``best`` as it is.
    """

    accuracy: Callable[[], float]
    patience: int
    factor: float
    min_lr: float
    delta: float
    best: float = -math.inf
    epoch: int = 0
    waited: int = 0
    drops: int = 0

    @classmethod
    def of(cls, settings: Mapping[str, Any], accuracy: Callable[[], float]) -> EarlyStop:
        """The early stopping of a recipe's ``stop`` section."""
        return cls(accuracy, **{rule: settings[rule] for rule in ("patience", "factor", "min_lr", "delta")})

    def rate(self, scheduled: float) -> float:
        """The scheduled learning rate after all drops."""
        return scheduled * self.factor**self.drops

    def over(self, scheduled: float) -> bool:
        """Whether training ends before an epoch of this scheduled rate."""
        return self.rate(scheduled) < self.min_lr * (1 - 1e-9)  # 1e-4 · 0.1 · 0.1 is 1e-6 but for its last digit

    def update(self, epoch: int) -> float:
        """Measure the accuracy after an epoch (1-based) and take the consequences."""
        accuracy = self.accuracy()
        if accuracy >= self.best + self.delta:
            self.best, self.epoch, self.waited = accuracy, epoch, 0
            return accuracy
        self.waited += 1
        if self.waited == self.patience:
            self.waited, self.drops = 0, self.drops + 1
            log.info("no progress in %d epochs; learning rate × %g", self.patience, self.factor)
        return accuracy

    def state(self) -> dict[str, float]:
        """What a resumed training needs."""
        return {"best": self.best, "epoch": self.epoch, "waited": self.waited, "drops": self.drops}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Restore what `state` gave."""
        self.best = state["best"]
        self.epoch, self.waited, self.drops = (int(state[key]) for key in ("epoch", "waited", "drops"))
