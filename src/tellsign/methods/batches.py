"""Batches of patches for rescale's pre-training: how each is made up, and their photographs read ahead by threads."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from tellsign.data.images import in_order
from tellsign.data.photos import Photos
from tellsign.errors import UserError
from tellsign.methods.lattice import Ratio
from tellsign.methods.patches import Draw, cut_patches, draw_batch, smallest_side
from tellsign.system.progress import progress

log = logging.getLogger(__name__)

FACTORS = ("n_ratios", "n_phases", "n_images", "n_patches")
"""Fields whose product is the size of a batch."""


@dataclass(frozen=True)
class Makeup:
    """How batches are made up and what is minimised on them.

    Attributes:
        ratios: Ratios that are drawn from.
        factors: Ratios, phases a ratio, images, and patches of each image at each ratio and phase, by field.
        temperature: Of the contrastive loss.
        ratio_weight: Weight of the cross-entropy of the ratio beside it.
    """

    ratios: tuple[Ratio, ...]
    factors: Mapping[str, int]
    temperature: float
    ratio_weight: float = 0.0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Makeup:
        """That of a recipe, or of its warm-up laid over it."""
        ratios = tuple(Ratio.parse(text) for text in settings["ratios"])
        factors = {name: settings[name] for name in FACTORS}
        return cls(ratios, factors, settings["temperature"], settings.get("ratio_weight", 0.0))

    @property
    def size(self) -> int:
        """Patches of a batch."""
        return torch.Size(self.factors.values()).numel()

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.factors.values()))} = {self.size} patches"

    def order(self, parts: int) -> Int64[Tensor, " n"]:
        """The rows of a batch in the order in which ``parts`` processes take them, each an equal part.

        Several take them in the order image, patch, ratio, phase: a process then reads few photographs and meets
        ratios and phases as evenly as can be.
        """
        rows = torch.arange(self.size)
        return rows if parts == 1 else rows.reshape(tuple(self.factors.values())).permute(2, 3, 0, 1).flatten()


def makeups(settings: Mapping[str, Any]) -> tuple[int, Makeup, Makeup]:
    """Steps of a recipe's warm-up (0 without one), the make-up of its batches, and that of all others."""
    warm_up = settings["warm_up"]
    if warm_up is None:
        return 0, Makeup.of(settings), Makeup.of(settings)
    own = {name: value for name, value in warm_up.items() if value is not None}
    return own["steps"], Makeup.of({**settings, **own}), Makeup.of(settings)


class Batches:
    """Batches of patches: drawn in order, their photographs read ahead by threads, each process cutting its part.

    Draws come from the generator in the order of the batches, whoever reads the photographs and however fast. Of an
    epoch's batches all are drawn when it ends and no more, so that the generator's state can be kept then.

    Args:
        photos: The photographs.
        settings: The recipe.
        generator: Source of every draw.
        device: Where patches are cut.
        readers: Threads that read photographs ahead.
        rank: Number of this process.
        processes: How many share each batch (`Makeup.order`).

    Attributes:
        photos: Those of them that are trained on.
        held_out: Those that are not, ``held_out`` of the recipe; drawn by its seed.
        steps: Batches an epoch.

    Raises:
        UserError: photographs are too small or too few, or the warm-up is longer than the training.
    """

    def __init__(
        self,
        photos: Photos,
        settings: Mapping[str, Any],
        generator: torch.Generator,
        device: torch.device,
        readers: int,
        *,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.generator, self.device = generator, device
        self.readers = max(2, readers) if photos.ahead else 1
        self.warm_up_steps, self.warm_up, self.main = makeups(settings)
        both = (self.warm_up, self.main)
        self.patch, self.quantise = settings["patch"], settings["quantise"]
        fields = ((m.ratios, m.factors["n_patches"]) for m in both)
        side = max(smallest_side(ratios, n_patches=n, patch_size=self.patch) for ratios, n in fields)
        fitting = photos.fitting(side, settings["too_small"])
        self.held_out, self.photos = fitting.parted(settings["held_out"], settings["seed"])
        needed = max(m.factors["n_images"] for m in both)
        if len(self.photos) < needed:
            raise UserError(
                f"{len(fitting)} photographs are there; {settings['held_out']} are held out of the training, and a "
                f"batch needs {needed}. Give more photographs, or lower held_out or n_images."
            )
        self.steps = settings["steps"] or -(-len(self.photos) // self.main.factors["n_images"])
        if self.warm_up_steps > self.steps * settings["epochs"]:
            raise UserError(
                f"the warm-up of {self.warm_up_steps} steps is longer than the training: {settings['epochs']} epochs "
                f"of {self.steps} steps. Lower warm_up.steps, or raise epochs or steps."
            )
        self.rank, self.processes = rank, processes
        self.waited = 0.0
        self._current_batch: tuple[Makeup, Draw, dict[int, Tensor]] | None = None

    def _draws(self, done: int) -> Iterator[tuple[Makeup, Draw]]:
        for step in range(done * self.steps, (done + 1) * self.steps):
            makeup = self.warm_up if step < self.warm_up_steps else self.main
            given = {"ratios": makeup.ratios, "patch_size": self.patch, **makeup.factors}
            yield makeup, draw_batch(self.photos.sizes, self.generator, **given)

    def _read(self, drawn: tuple[Makeup, Draw]) -> tuple[Makeup, Draw, dict[int, Tensor]]:
        makeup, draw = drawn
        numbers = draw.image[self.mine(makeup)].unique().tolist()
        return makeup, draw, {i: self.photos.read(i) for i in numbers}

    def mine(self, makeup: Makeup) -> Int64[Tensor, " m"]:
        """Rows of a batch that this process takes."""
        return makeup.order(self.processes).chunk(self.processes)[self.rank]

    def epoch(self, done: int) -> Iterator[Int64[Tensor, " n_images"]]:
        """Photographs of each batch in turn; `patches` and `draw` then give what is made of them.

        Args:
            done: Epochs that went before; they say which batches belong to the warm-up.
        """
        began, self.waited = time.monotonic(), 0.0
        read = in_order(self._read, self._draws(done), self.readers)
        for _ in progress(range(self.steps), self.steps, "pretrain", every=60):
            asked = time.monotonic()
            self._current_batch = next(read)
            self.waited += time.monotonic() - asked
            yield self.draw.image.unique()
        share = self.waited / (time.monotonic() - began)
        if self.photos.ahead:
            log.info("%.1f %% of the epoch was spent waiting for photographs; threads read them", 100 * share)

    @property
    def makeup(self) -> Makeup:
        """How the current batch is made up."""
        assert self._current_batch is not None
        return self._current_batch[0]

    @property
    def draw(self) -> Draw:
        """What the current batch is, in the order of the processes' parts; on the CPU."""
        assert self._current_batch is not None
        return self._current_batch[1].part(self.makeup.order(self.processes))

    def patches(self) -> Tensor:
        """Patches of this process's part of the current batch."""
        assert self._current_batch is not None
        makeup, draw, images = self._current_batch
        there = {i: image.to(self.device) for i, image in images.items()}
        part = draw.part(self.mine(makeup))
        return cut_patches(there, part, ratios=makeup.ratios, patch_size=self.patch, quantise=self.quantise)
