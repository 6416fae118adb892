"""The one training loop: optimiser, schedule, epochs, resume, log.

It knows nothing of images or features: a caller passes a function that computes the loss of one batch.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.adam import adam

from tellsign.errors import UserError
from tellsign.runtime import file_beside, write_text

log = logging.getLogger(__name__)


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


def step_schedule(lr: float, epoch: int, *, every: int, factor: float) -> float:
    """Learning rate of an epoch (0-based): ``lr`` times ``factor`` for every ``every`` epochs done.

    ``every=1, factor=0.5`` is MPFT's Table 9 (StepLR(1, 0.5)); ``factor=1`` keeps the rate constant.
    """
    return lr * factor ** (epoch // every)


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

    def load(self, model: nn.Module, optimiser: Adam, generator: torch.Generator) -> int:
        """Restore the last whole epoch; return how many epochs are done (0 when there is nothing to resume)."""
        if self.folder is None or not (self.folder / "state.safetensors").exists():
            return 0
        with safe_open(self.folder / "state.safetensors", framework="pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
            note = json.loads(stored.metadata()["progress"])
        prefix = "model."
        model.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        optimiser.load_state({k: v for k, v in tensors.items() if not k.startswith(prefix)})
        generator.set_state(tensors["generator"])
        self.rows = note["rows"]
        log.info("resuming after epoch %d", note["done"])
        return int(note["done"])

    def save(self, model: nn.Module, optimiser: Adam, generator: torch.Generator, done: int) -> None:
        """Keep the state after ``done`` whole epochs, replacing the earlier one."""
        if self.folder is None:
            return
        tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}
        tensors |= optimiser.state() | {"generator": generator.get_state()}
        with file_beside(self.folder / "state.safetensors") as part:
            save_file(tensors, part, {"progress": json.dumps({"done": done, "rows": self.rows})})


def fit(
    model: nn.Module,
    loss_of: Callable[[Int64[Tensor, " b"]], Float[Tensor, ""]],
    batches: Callable[[], Iterator[Int64[Tensor, " b"]]],
    optimiser: Adam,
    *,
    epochs: int,
    rate: Callable[[int], float],
    generator: torch.Generator,
    resume: Resume,
    after_epoch: Callable[[int], None],
) -> list[dict[str, float]]:
    """Train for whole epochs and return the log: epoch, rows seen, mean loss, lr, seconds.

    Args:
        model: What is trained; only used to keep and restore its state.
        loss_of: Batch of row numbers to a scalar loss, drawing from ``generator`` alone.
        batches: Called once an epoch, gives that epoch's batches of rows.
        optimiser: Already holds the parameters.
        epochs: Number of passes.
        rate: Learning rate of an epoch (0-based).
        generator: Source of every draw; part of the resumed state.
        resume: Where the state after each epoch is kept.
        after_epoch: Called with the number of epochs done (1-based), to keep weights.

    Raises:
        UserError: the loss is not finite.
    """
    done = resume.load(model, optimiser, generator)
    for epoch in range(done, epochs):
        start, total, count = time.monotonic(), 0.0, 0
        lr = rate(epoch)
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
        resume.rows.append(row)
        log.info("epoch %d/%d: loss %.4f, lr %.2e, %.1f s", epoch + 1, epochs, mean, lr, seconds)
        after_epoch(epoch + 1)
        resume.save(model, optimiser, generator, epoch + 1)
    return resume.rows


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the training log as CSV."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
