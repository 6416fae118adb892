"""State of a training after a whole epoch, from which the same command goes on after a kill.

Writing it takes longer than a short epoch (12 s for ViT-L/14), so it is written by time: a training that is shorter
than `SECONDS` writes none, and begins anew after a kill, to the same bytes.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shlex
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tellsign.errors import UserError
from tellsign.system.files import folder_beside
from tellsign.system.integrity import MANIFEST, check_files
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


@dataclass
class Resume:
    """State of a training after a whole epoch, kept in a folder outside the declared outputs.

    Each state is a folder of its own, ``state-EPOCH``: the tensors, how far the training is, and the manifest of both.
    It gets that name once it is whole, and the one before is removed after that, so that a kill at any moment leaves a
    whole state.

    Attributes:
        folder: Where the states are; None keeps none.
        rows: The log of the epochs done.
        every: Seconds that pass at least between two states, and before the first.
        saved: When the last one was written, or this was made, on the monotonic clock.
    """

    folder: Path | None
    rows: list[dict[str, float]] = field(default_factory=list)
    every: float = field(default_factory=seconds_between_states)
    saved: float = field(default_factory=time.monotonic)

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
        model.load_state_dict({k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)})
        optimiser.load_state({k: v for k, v in tensors.items() if not k.startswith(PREFIX)})
        generator.set_state(tensors["generator"])
        self.rows = progress["rows"]
        if stop is not None:
            stop.load_state(progress["stop"])
        log.info("resuming after epoch %d", progress["done"])
        return int(progress["done"])

    def save(
        self,
        model: nn.Module,
        optimiser: Optimiser,
        generator: torch.Generator,
        done: int,
        stop: EarlyStop | None = None,
    ) -> None:
        """Keep the state after ``done`` whole epochs, replacing the earlier one, if enough time has passed."""
        if self.folder is None or time.monotonic() - self.saved < self.every:
            return
        tensors = {f"{PREFIX}{k}": v.contiguous() for k, v in model.state_dict().items()}
        tensors |= optimiser.state() | {"generator": generator.get_state()}
        progress = {"done": done, "rows": self.rows, "stop": None if stop is None else stop.state()}
        target = self.folder / f"state-{done}"
        earlier = [state for state in self.states() if state != target]
        with folder_beside(target) as part:
            save_file(tensors, part / "state.safetensors")
            (part / "progress.json").write_text(json.dumps(progress), encoding="utf-8")
            for path in part.iterdir():  # on the disk before its name is, should the power fail
                with path.open("rb+") as stream:
                    os.fsync(stream.fileno())
        for state in earlier:
            shutil.rmtree(state)
        self.saved = time.monotonic()
