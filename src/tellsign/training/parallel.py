"""Several processes that compute what one would: how they are started, and the operations that join their batches.

Each process takes a part of one batch. What depends on the whole batch is gathered: the features of a contrastive
loss, and the statistics of BatchNorm. Every process then computes the same loss, and the gradient of the loss with
respect to a parameter is the average over the processes of what backpropagation gives them (which
``DistributedDataParallel`` takes), because `gather` sums over the processes on its way back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellsign.errors import UserError
from tellsign.system.progress import log_to_stderr

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

log = logging.getLogger(__name__)

GRACE = 2.0
"""Seconds that a process which met an error waits before it ends: the one that caused it is then seen to end first."""

GO_ON = "The same command goes on from the last whole epoch."


@dataclass(frozen=True)
class World:
    """The processes that work together, and which of them this is.

    Attributes:
        rank: This one's number, from 0.
        size: How many there are.
        here: How many of them run on this machine.
    """

    rank: int = 0
    size: int = 1
    here: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0


@dataclass(frozen=True)
class Nodes:
    """The machines that work together, and which of them this is.

    Attributes:
        count: How many.
        number: This one's, from 0.
        meeting: ``HOST:PORT`` of the first one, where all find each other; empty for one machine.
    """

    count: int = 1
    number: int = 0
    meeting: str = ""

    @classmethod
    def of_step(cls, environment: Mapping[str, str]) -> Nodes:
        """The nodes of the SLURM step that this process is a task of, from what ``srun`` sets; one machine elsewhere.

        Raises:
            UserError: the step has several tasks a node; this program starts its processes itself.
        """
        count, tasks = (int(environment.get(name, "1")) for name in ("SLURM_STEP_NUM_NODES", "SLURM_STEP_NUM_TASKS"))
        if count == 1:
            return cls()
        if tasks != count:
            raise UserError(f"srun started {tasks} tasks on {count} nodes; start one a node: srun --ntasks-per-node=1.")
        port = 20000 + int(environment["SLURM_JOB_ID"]) % 10000
        return cls(count, int(environment["SLURM_NODEID"]), f"{environment['SLURM_LAUNCH_NODE_IPADDR']}:{port}")


# ------------------------------------------------------------------------------------------------ processes


def launch(work: Callable[..., None], processes: int, arguments: dict[str, Any], nodes: Nodes | None = None) -> None:
    """Run ``work(**arguments)`` in several processes, as ``torchrun`` does, and wait.

    On one machine they find one another through a port that the system chooses (``torchrun --standalone``). When one
    fails, all are ended.

    Args:
        work: A function of a module; it calls `joined`.
        processes: How many, on each machine.
        arguments: What can be pickled.
        nodes: The machines, each of which calls this; None for this one alone. The first one has rank 0.

    Raises:
        UserError: a process failed (the error is that of the process that failed first), or this one was told to stop.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    nodes = nodes or Nodes()
    alone = nodes.count == 1
    config = LaunchConfig(
        min_nodes=nodes.count,
        max_nodes=nodes.count,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex if alone else nodes.meeting,
        rdzv_backend="c10d" if alone else "static",
        rdzv_endpoint="localhost:0" if alone else nodes.meeting,
        rdzv_configs={} if alone else {"rank": nodes.number, "timeout": 900},
        local_addr="localhost" if alone else None,
        max_restarts=0,
    )
    try:
        with _silence():
            elastic_launch(config, _member)(work, arguments)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        raise _expected(rank, processes * nodes.count, failure) from None
    except SignalException as stopped:
        raise UserError(f"stopped by signal {int(stopped.sigval)}, with all {processes} processes. {GO_ON}") from None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing of what the launcher logs: a failure is told once, by `launch`."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _member(work: Callable[..., None], arguments: dict[str, Any]) -> None:
    """Run in each process: only the first one reports how it goes on."""
    log_to_stderr()
    if os.environ["RANK"] != "0":
        logging.getLogger().setLevel(logging.ERROR)
    try:
        work(**arguments)
    except RuntimeError:  # perhaps only the echo of another process's end
        time.sleep(GRACE)
        raise


def _expected(rank: int, processes: int, failure: ProcessFailure) -> UserError:
    """What a process failed from, as an error for the user."""
    note = failure.error_file_data.get("message")
    if isinstance(note, dict):
        kind, _, text = str(note["message"]).partition(": ")
        if kind == "UserError":
            return UserError(text)
        log.error("process %d of %d:\n%s", rank, processes, note["extraInfo"]["py_callstack"])
        cause = f"{kind}: {text}"
    elif failure.exitcode < 0:
        cause = f"it was ended by signal {-failure.exitcode} ({failure.signal_name()})"
        cause += "; perhaps memory ran out" if failure.signal_name() == "SIGKILL" else ""
    else:
        cause = f"it ended with exit status {failure.exitcode}"
    return UserError(f"process {rank} of {processes} failed: {cause}. The others were stopped. {GO_ON}")


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[tuple[World, torch.device]]:
    """Join the other processes of a `launch`; yields the world, and this process's own device.

    On a GPU the processes talk by NCCL and each takes the GPU of its number, on a CPU by gloo.
    """
    local = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    yield World(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_WORLD_SIZE"])), device
    dist.destroy_process_group()  # not after an error: the others would meet it before the launcher sees this one end


# ------------------------------------------------------------------------------------------------ operations


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        whole = grads[0].contiguous()
        dist.all_reduce(whole)
        return whole[ctx.rows * dist.get_rank() :][: ctx.rows]


def gather(x: Tensor) -> Tensor:
    """The rows of all processes, by rank; every process must come with equally many.

    Differentiable: the gradient of a process's rows is the sum of what all processes make of them. Torch 2.15 warns
    that its own ``torch.distributed.nn.functional.all_gather`` is deprecated, in favour of one in a private module.
    """
    out: Any = _Gather.apply(x.contiguous())
    return out


class BatchNormOfAll(_BatchNorm):
    """BatchNorm whose training statistics are those of all processes' rows together.

    Means and variances of the processes are gathered and combined (Chan, Golub and LeVeque 1979, for equal counts):
    the variance of the whole is the mean of the variances plus the variance of the means. In evaluation it is
    ordinary BatchNorm. It works on any device; ``torch.nn.SyncBatchNorm`` needs a GPU.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions from two on."""

    def forward(self, input: Float[Tensor, "b c *d"]) -> Float[Tensor, "b c *d"]:
        """Normalise a process's part of the batch."""
        if not self.training:
            return super().forward(input)
        over = [0, *range(2, input.ndim)]
        variance, mean = torch.var_mean(input, over, correction=0)
        means, variances = gather(torch.stack([mean, variance])[None]).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                n = input.numel() // input.shape[1] * len(means)
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * (n / (n - 1)), momentum)
        scale = (variance + self.eps).rsqrt()
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        shape = (1, -1, *[1] * (input.ndim - 2))
        return input * scale.view(shape) + shift.view(shape)


def share_batch_norm(module: nn.Module) -> None:
    """Replace every BatchNorm inside ``module`` by `BatchNormOfAll`, which keeps its parameters and statistics."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            tracks = child.track_running_stats
            shared = BatchNormOfAll(child.num_features, child.eps, child.momentum, child.affine, tracks)
            shared._parameters = child._parameters
            shared._buffers = child._buffers
            setattr(module, name, shared.train(child.training))
        else:
            share_batch_norm(child)
