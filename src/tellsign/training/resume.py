"""State of a training after its last whole epoch, from which the same command goes on after a kill."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from tellsign.system.files import file_beside
from tellsign.system.integrity import SAFETENSORS, UNSEALED, check_sealed, write_seal
from tellsign.training.early_stopping import EarlyStop
from tellsign.training.optimisers import Optimiser

log = logging.getLogger(__name__)


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
