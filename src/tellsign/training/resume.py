"""State of a training after a whole epoch, from which the same command goes on after a kill.

Writing it takes longer than a short epoch (12 s for ViT-L/14), so it is written by time, in a thread, from copies of
the tensors, while the next epochs run: a training that is shorter than `SECONDS` writes none, and begins anew after a
kill, to the same bytes. SIGTERM and Ctrl-C have the last whole epoch's state written before they end the process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tellsign.errors import UserError
from tellsign.system.files import folder_beside
from tellsign.system.integrity import MANIFEST, check_files
from tellsign.system.signals import before_sigterm
from tellsign.training.early_stopping import EarlyStop
from tellsign.training.optimisers.build import Optimiser

log = logging.getLogger(__name__)

PREFIX = "model."
"""Begins the names of the model's tensors in a state; the others are the optimiser's and the generator's."""
SECONDS, VARIABLE = 120.0, "TELLSIGN_STATE_SECONDS"
"""The least time between two states, and the environment variable that says another one; 0 keeps every epoch's."""


def seconds_between_states() -> float:
    """The least time between two states of a training.

    Raises:
        UserError: the environment variable holds no such number.
    """
    given = os.environ.get(VARIABLE, str(SECONDS))
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UserError(f"{VARIABLE} is {given!r}; it must be a number of seconds, 0 or more, such as {SECONDS:g}.")
    return seconds


@dataclass(frozen=True)
class State:
    """A training after so many whole epochs.

    Attributes:
        done: The epochs.
        tensors: Copies of the model's, the optimiser's and the generator's tensors, on their devices.
        progress: What else is needed, as JSON.
    """

    done: int
    tensors: Mapping[str, Tensor]
    progress: str


@dataclass
class Resume:
    """State of a training after a whole epoch, kept in a folder outside the declared outputs.

    Each state is a folder of its own, ``state-EPOCH``: the tensors, how far the training is, and the manifest of both.
    It gets that name once it is whole, and the one before is removed after that, so that a kill at any moment leaves a
    whole state.

    Attributes:
        folder: Where the states are; None keeps none.
        rows: The log of the epochs done.
        every: Seconds that pass at least between two states, and before the first. A state waits until the one before
            it is written.
        begun: When the last one was begun, or this was made, on the monotonic clock.
        last: The state after the last whole epoch.
        written: The epochs of the last state that was written here.
        without: What the names of those of the model's tensors begin with that training leaves as they are, so that
            no state holds them; None where there are none.
    """

    folder: Path | None
    rows: list[dict[str, float]] = field(default_factory=list)
    every: float = field(default_factory=seconds_between_states)
    begun: float = field(default_factory=time.monotonic)
    last: State | None = None
    written: int = 0
    without: str | None = None
    _thread: ThreadPoolExecutor | None = None
    _writing: Future[None] | None = None

    def states(self) -> list[Path]:
        """The states that are there, the newest last."""
        folders = [] if self.folder is None else self.folder.glob("state-*")
        return sorted(folders, key=lambda state: int(state.name.removeprefix("state-")))

    def load(
        self, model: nn.Module, optimiser: Optimiser, generator: torch.Generator, stop: EarlyStop | None = None
    ) -> int:
        """Restore the last state; return how many epochs are done (0 when there is nothing to resume).

        Raises:
            UserError: the state's bytes are not those that were written.
        """
        states = self.states()
        if self.folder is None or not states:
            return 0
        state = states[-1]
        advice = f"`rm -r {shlex.quote(str(self.folder))}` and run the same command: that training begins anew."
        if not (state / MANIFEST).is_file():
            raise UserError(f"{state} is damaged: it has no {MANIFEST}. {advice}")
        check_files(state, advice)
        tensors = load_file(state / "state.safetensors")
        progress = json.loads((state / "progress.json").read_text(encoding="utf-8"))
        state = {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}
        model.load_state_dict({k: v for k, v in model.state_dict().items() if self._stays(k)} | state)
        optimiser.load_state({k: v for k, v in tensors.items() if not k.startswith(PREFIX)})
        generator.set_state(tensors["generator"])
        self.rows = progress["rows"]
        if stop is not None:
            stop.load_state(progress["stop"])
        log.info("resuming after epoch %d", progress["done"])
        return int(progress["done"])

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Within the block `save` has a thread that writes, and a process that is told to end writes what `save` got.

        Raises:
            OSError, SafetensorError: a state could not be written.
        """
        with ThreadPoolExecutor(1, "state") as self._thread, before_sigterm(self._write_last):
            try:
                yield
            except KeyboardInterrupt:
                self._write_last()
                raise
            self._wait()

    def save(
        self,
        model: nn.Module,
        optimiser: Optimiser,
        generator: torch.Generator,
        done: int,
        stop: EarlyStop | None = None,
    ) -> None:
        """Note the state after ``done`` whole epochs, within `kept`; have it written if enough time has passed.

        Raises:
            OSError, SafetensorError: the state before it could not be written.
        """
        if self.folder is None:
            return
        assert self._thread is not None, "save is called within kept"
        self.last = None  # so that two copies never take memory, unless one is being written
        tensors = {f"{PREFIX}{k}": v for k, v in model.state_dict().items() if not self._stays(k)}
        tensors |= optimiser.state()
        tensors = {k: v.detach().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
        progress = {"done": done, "rows": self.rows, "stop": None if stop is None else stop.state()}
        self.last = State(done, tensors | {"generator": generator.get_state()}, json.dumps(progress))
        if time.monotonic() - self.begun >= self.every:
            self._wait()
            self.begun = time.monotonic()
            self._writing = self._thread.submit(self._write, self.folder, self.last)

    def _stays(self, name: str) -> bool:
        """Whether training leaves one of the model's tensors as it is."""
        return self.without is not None and name.startswith(self.without)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _write_last(self) -> None:
        """Write the state after the last whole epoch, if it is not there yet; that it cannot be is only told."""
        try:
            self._wait()
            if self.folder is not None and self.last is not None and self.last.done > self.written:
                self._write(self.folder, self.last)
        except (OSError, SafetensorError) as problem:
            log.error("the state of this training could not be written: %s", problem)

    def _write(self, folder: Path, state: State) -> None:
        """Write a state, replacing the earlier one."""
        target = folder / f"state-{state.done}"
        earlier = [path for path in self.states() if path != target]
        with folder_beside(target) as part:
            save_file({name: tensor.cpu() for name, tensor in state.tensors.items()}, part / "state.safetensors")
            (part / "progress.json").write_text(state.progress, encoding="utf-8")
            for path in part.iterdir():  # on the disk before its name is, should the power fail
                with path.open("rb+") as stream:
                    os.fsync(stream.fileno())
        self.written = state.done
        for path in earlier:
            shutil.rmtree(path)
