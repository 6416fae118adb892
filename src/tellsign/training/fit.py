"""The one training loop: epochs, resume, log.

It knows nothing of images or features: a caller passes a function that computes the loss of one batch.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from collections.abc import Callable, Iterator, Sized
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tellsign.errors import UserError
from tellsign.system.files import write_text
from tellsign.training.early_stopping import EarlyStop
from tellsign.training.optimisers.build import Optimiser
from tellsign.training.resume import Resume

log = logging.getLogger(__name__)
B = TypeVar("B", bound=Sized)
Row = dict[str, float]


def shuffled_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Int64[Tensor, " b"]]:
    """Rows 0 to ``count`` - 1 of one epoch: every row once, in random order; the last batch may be short."""
    yield from torch.randperm(count, generator=generator).split(batch_size)


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
    rows_of: Callable[[Row], list[Row]] = lambda row: [row],
) -> list[Row]:
    """Train for whole epochs and return the log: epoch, rows seen, mean loss, lr, seconds; with ``stop``, accuracy.

    Args:
        model: What is trained; only used to keep and restore its state.
        loss_of: Batch to a scalar loss, drawing from ``generator`` alone.
        batches: Called once an epoch, gives that epoch's batches, such as row numbers; a batch has a length.
        optimiser: Already holds the parameters.
        epochs: Number of passes; with ``stop``, their highest number.
        rate: Learning rate of an epoch (0-based).
        generator: Source of every draw; part of the resumed state.
        resume: Keeps the state after an epoch.
        after_epoch: Called with the number of epochs done (1-based), to keep weights.
        stop: Early stopping; it has seen an epoch's accuracy when ``after_epoch`` is called.
        rows_of: Makes an epoch's row of the log into those that are kept of it, each with its ``epoch``.

    Raises:
        UserError: the loss is not finite.
    """
    done = resume.load(model, optimiser, generator, stop)
    with resume.kept():
        for epoch in range(done, epochs):
            start, total, count = time.monotonic(), torch.zeros((), dtype=torch.float64), 0
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
                total = total.to(loss.device) + loss.detach().double() * len(rows)  # the host reads it once an epoch
                count += len(rows)
            mean = float(total) / count
            if not math.isfinite(mean):
                raise UserError(
                    f"the loss is {mean} in epoch {epoch + 1} of {epochs} at learning rate {lr}. "
                    "Lower the recipe's optimiser.lr, or set precision: fp32."
                )
            seconds = time.monotonic() - start
            row = {"epoch": epoch + 1, "rows": count, "loss": mean, "lr": lr, "seconds": seconds}
            if stop is not None:
                row["accuracy"] = stop.update(epoch + 1)
                row["seconds"] = time.monotonic() - start
            resume.rows += rows_of(row)
            log.info("epoch %d/%d: loss %.4f, lr %.2e, %.1f s", epoch + 1, epochs, mean, lr, seconds)
            after_epoch(epoch + 1)
            resume.save(model, optimiser, generator, epoch + 1, stop)
    return resume.rows


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the training log as CSV; a training without epochs leaves the header alone."""
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["epoch", "rows", "loss", "lr", "seconds"]
    writer = csv.DictWriter(buffer, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
