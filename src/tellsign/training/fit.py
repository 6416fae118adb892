"""The one training loop: optimiser, schedule, epochs, resume, log.

It knows nothing of images or features: a caller passes a function that computes the loss of one batch.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from jaxtyping import Float, Int64
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from tellsign.errors import UserError, choose
from tellsign.system.files import file_beside, write_text
from tellsign.system.integrity import SAFETENSORS, UNSEALED, check_sealed, write_seal

log = logging.getLogger(__name__)
B = TypeVar("B", bound=Sized)


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


class Adam:
    """Adam (Kingma & Ba 2014) and AdamW (``decoupled``; Loshchilov & Hutter 2019), over torch's functional form.

    The functional form is used for two reasons: its state is plain tensors, which go into safetensors for
    resuming (no pickle), and it spares each training process the seconds that ``torch.optim`` needs to start.

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
        self.params = [p for p in params if p.requires_grad]
        self.lr, self.betas, self.eps = lr, betas, eps
        self.weight_decay, self.decoupled = weight_decay, decoupled
        self.first = [torch.zeros_like(p) for p in self.params]
        self.second = [torch.zeros_like(p) for p in self.params]
        self.steps = [torch.zeros((), dtype=torch.float32) for _ in self.params]

    @classmethod
    def of(cls, params: Iterable[nn.Parameter], settings: Mapping[str, Any]) -> Adam:
        """The optimiser of a recipe's ``optimiser`` section."""
        return cls(
            params,
            lr=settings["lr"],
            betas=tuple(settings["betas"]),
            weight_decay=settings["weight_decay"],
            decoupled=settings["name"] == "adamw",
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self, lr: float | None = None) -> None:
        """Update every parameter that has a gradient."""
        held = [i for i, p in enumerate(self.params) if p.grad is not None]
        adam(
            [self.params[i] for i in held],
            [g for i in held if (g := self.params[i].grad) is not None],
            [self.first[i] for i in held],
            [self.second[i] for i in held],
            [],
            [self.steps[i] for i in held],
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
        out: dict[str, Tensor] = {}
        for i, (a, b, n) in enumerate(zip(self.first, self.second, self.steps, strict=True)):
            out |= {f"first.{i}": a.contiguous(), f"second.{i}": b.contiguous(), f"steps.{i}": n}
        return out

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""
        for i in range(len(self.params)):
            self.first[i].copy_(state[f"first.{i}"])
            self.second[i].copy_(state[f"second.{i}"])
            self.steps[i].copy_(state[f"steps.{i}"])


class Sgd:
    """Stochastic gradient descent with momentum, over torch's functional form as `Adam`.

    The velocity is v ← momentum v + g and the step lr v (nesterov: lr (g + momentum v)), without dampening: torch's
    form of Sutskever et al. (2013), where the rate stands outside the velocity.

    Args:
        params: Trainable parameters, in a fixed order.
        lr: Learning rate; ``step`` may override it.
        momentum: Decay of the velocity; 0 for none.
        nesterov: Look ahead along the velocity.
        weight_decay: L2 penalty, part of g.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.params = [p for p in params if p.requires_grad]
        self.lr, self.momentum, self.nesterov, self.weight_decay = lr, momentum, nesterov, weight_decay
        self.velocity = [torch.zeros_like(p) for p in self.params]

    @classmethod
    def of(cls, params: Iterable[nn.Parameter], settings: Mapping[str, Any]) -> Sgd:
        """The optimiser of a recipe's ``optimiser`` section."""
        return cls(params, **{key: settings[key] for key in ("lr", "momentum", "nesterov", "weight_decay")})

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self, lr: float | None = None) -> None:
        """Update every parameter that has a gradient."""
        held = [i for i, p in enumerate(self.params) if p.grad is not None]
        sgd(
            [self.params[i] for i in held],
            [g for i in held if (g := self.params[i].grad) is not None],
            [self.velocity[i] for i in held],
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.lr if lr is None else lr,
            dampening=0.0,
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


def step_schedule(lr: float, epoch: int, *, every: int, factor: float) -> float:
    """Learning rate of an epoch (0-based): ``lr`` times ``factor`` for every ``every`` epochs done.

    ``every=1, factor=0.5`` is MPFT's Table 9 (StepLR(1, 0.5)); ``factor=1`` keeps the rate constant.
    """
    return lr * factor ** (epoch // every)


def cosine_schedule(lr: float, epoch: int, *, epochs: int, floor: float) -> float:
    """Learning rate of an epoch (0-based): half a cosine from ``lr``, which would reach ``floor`` after the last.

    Source: Loshchilov & Hutter (2017), Eq. 5, without restarts and by whole epochs.
    """
    return floor + (lr - floor) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def scheduled_rate(lr: float, epoch: int, epochs: int, schedule: Mapping[str, Any]) -> float:
    """Learning rate of an epoch (0-based) by a recipe's ``schedule`` section.

    A warm-up of w epochs rises in equal steps towards the rate of epoch w, the first that follows the schedule.
    """
    kinds: dict[str, Callable[[int], float]] = {
        "step": lambda e: step_schedule(lr, e, every=schedule["every"], factor=schedule["factor"]),
        "constant": lambda e: lr,
        "cosine": lambda e: cosine_schedule(lr, e, epochs=epochs, floor=schedule["floor"]),
    }
    rate, warmup = choose(kinds, schedule["kind"], "schedule"), schedule["warmup"]
    return rate(warmup) * (epoch + 1) / (warmup + 1) if epoch < warmup else rate(epoch)


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


def balanced_batches(
    labels: Int64[Tensor, " n"], batch_size: int, generator: torch.Generator
) -> Iterator[Int64[Tensor, " b"]]:
    """Rows of one epoch: every row once, in random order; the last batch may be short."""
    order = torch.randperm(len(labels), generator=generator)
    yield from order.split(batch_size)


@dataclass
class Resume:
    """State of a training after its last whole epoch, kept in a folder outside the declared outputs."""

    folder: Path | None
    rows: list[dict[str, float]] = field(default_factory=list)

    def load(
        self, model: nn.Module, optimiser: Optimiser, generator: torch.Generator, stop: EarlyStop | None = None
    ) -> int:
        """Restore the last whole epoch; return how many epochs are done (0 when there is nothing to resume).

        Raises:
            UserError: the state's bytes are not those that were written.
        """
        if self.folder is None or not (self.folder / "state.safetensors").exists():
            return 0
        check_sealed(self.folder / "state.safetensors")
        with safe_open(self.folder / "state.safetensors", framework="pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
            note = json.loads(stored.metadata()["progress"])
        prefix = "model."
        model.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        optimiser.load_state({k: v for k, v in tensors.items() if not k.startswith(prefix)})
        generator.set_state(tensors["generator"])
        self.rows = note["rows"]
        if stop is not None:
            stop.load_state(note["stop"])
        log.info("resuming after epoch %d", note["done"])
        return int(note["done"])

    def save(
        self,
        model: nn.Module,
        optimiser: Optimiser,
        generator: torch.Generator,
        done: int,
        stop: EarlyStop | None = None,
    ) -> None:
        """Keep the state after ``done`` whole epochs, replacing the earlier one."""
        if self.folder is None:
            return
        tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}
        tensors |= optimiser.state() | {"generator": generator.get_state()}
        note = {"done": done, "rows": self.rows, "stop": None if stop is None else stop.state()}
        with file_beside(self.folder / "state.safetensors") as part:
            save_file(tensors, part, {"progress": json.dumps(note), "sha256": UNSEALED})
            write_seal(part, SAFETENSORS)


def fit(
    model: nn.Module,
    loss_of: Callable[[B], Float[Tensor, ""]],
    batches: Callable[[], Iterator[B]],
    optimiser: Optimiser,
    *,
    epochs: int,
    rate: Callable[[int], float],
    generator: torch.Generator,
    resume: Resume,
    after_epoch: Callable[[int], None],
    stop: EarlyStop | None = None,
) -> list[dict[str, float]]:
    """Train for whole epochs and return the log: epoch, rows seen, mean loss, lr, seconds; with ``stop``, accuracy.

    Args:
        model: What is trained; only used to keep and restore its state.
        loss_of: Batch to a scalar loss, drawing from ``generator`` alone.
        batches: Called once an epoch, gives that epoch's batches, such as row numbers; a batch has a length.
        optimiser: Already holds the parameters.
        epochs: Number of passes; with ``stop``, their highest number.
        rate: Learning rate of an epoch (0-based).
        generator: Source of every draw; part of the resumed state.
        resume: Where the state after each epoch is kept.
        after_epoch: Called with the number of epochs done (1-based), to keep weights.
        stop: Early stopping; it has seen an epoch's accuracy when ``after_epoch`` is called.

    Raises:
        UserError: the loss is not finite.
    """
    done = resume.load(model, optimiser, generator, stop)
    for epoch in range(done, epochs):
        start, total, count = time.monotonic(), 0.0, 0
        lr = rate(epoch)
        if stop is not None:
            if stop.over(lr):
                break
            lr = stop.rate(lr)
        for rows in batches():
            optimiser.zero_grad()
            loss = loss_of(rows)
            loss.backward()
            optimiser.step(lr)
            total += float(loss.detach()) * len(rows)
            count += len(rows)
        mean = total / count
        if mean != mean or mean in (float("inf"), float("-inf")):
            raise UserError(
                f"the loss is {mean} in epoch {epoch + 1} of {epochs} at learning rate {lr}. "
                "Lower the recipe's optimiser.lr, or set precision: fp32."
            )
        seconds = time.monotonic() - start
        row = {"epoch": epoch + 1, "rows": count, "loss": mean, "lr": lr, "seconds": seconds}
        if stop is not None:
            row["accuracy"] = stop.update(epoch + 1)
            row["seconds"] = time.monotonic() - start
        resume.rows.append(row)
        log.info("epoch %d/%d: loss %.4f, lr %.2e, %.1f s", epoch + 1, epochs, mean, lr, seconds)
        after_epoch(epoch + 1)
        resume.save(model, optimiser, generator, epoch + 1, stop)
    return resume.rows


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the training log as CSV; a training without epochs leaves the header alone."""
    buffer = io.StringIO()
    names = list(rows[0]) if rows else ["epoch", "rows", "loss", "lr", "seconds"]
    writer = csv.DictWriter(buffer, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
