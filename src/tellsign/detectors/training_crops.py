"""Batches of random crops for training, augmented as a recipe says."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tellsign.data.augmentations import AUGMENTATIONS
from tellsign.data.pixels import PixelTable, augment
from tellsign.errors import UserError
from tellsign.system.devices import loader_threads, sent
from tellsign.training.fit import shuffled_batches

log = logging.getLogger(__name__)

SHARE = 0.5
"""Of the memory that is free on a device, what training images may take: the rest is for the training."""


@dataclass(frozen=True)
class Batch:
    """One batch of training images.

    Attributes:
        positions: Positions among the training images.
        crops: Their crops.
    """

    positions: Int64[Tensor, " b"]
    crops: UInt8[Tensor, "b 3 size size"]

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class TrainingCrops:
    """Random crops of labelled images, augmented and flipped as a recipe says.

    Attributes:
        table: Decoded images.
        rows: Row of the table of each image.
        settings: The recipe.
        generator: Source of every draw.
        device: Where batches are computed.
    """

    table: PixelTable
    rows: Int64[Tensor, " n"]
    settings: Mapping[str, Any]
    generator: torch.Generator
    device: torch.device

    def batches(self) -> Iterator[Batch]:
        """The batches of one epoch: every image once, in random order, or the first ``epoch_steps`` of these batches.

        Raises:
            UserError: there are fewer batches.
        """
        positions = list(shuffled_batches(len(self.rows), self.settings["batch_size"], self.generator))
        if (steps := self.settings["epoch_steps"]) is not None:
            if steps > len(positions):
                raise UserError(
                    f"epoch_steps is {steps}, but {len(self.rows)} training images make {len(positions)} batches. Ask "
                    "for fewer steps, or raise data.count."
                )
            positions = positions[:steps]
        rows = [self.rows[batch] for batch in positions]
        options = dict(self.settings["augment"])
        augmented = AUGMENTATIONS.load(options.pop("name"))
        workers = loader_threads(self.device)
        crops = augmented(self.table, rows, self.settings["crop"], self.generator, workers, **options)
        yield from map(Batch, positions, crops)

    def pixels(self, batch: Batch) -> UInt8[Tensor, "b 3 size size"]:
        """The crops of a batch, flipped and rotated, on the device."""
        flip, rotate = self.settings["flip"], self.settings["rotate"]
        return sent(augment(batch.crops, self.generator, flip=flip, rotate=rotate), self.device)


def near(table: PixelTable, settings: Mapping[str, Any], device: torch.device) -> PixelTable:
    """The table where a training cuts its crops.

    On CUDA its pixels are copied to the device if no augmentation asks for them on the CPU and they take at most half
    of the memory that is free there; else, and on a CPU, it is used as it is.
    """
    if device.type != "cuda" or settings["augment"]["name"] != "none":
        return table
    needed, (free, _) = table.pixels.nbytes, torch.cuda.mem_get_info(device)
    fits = needed <= free * SHARE
    told = "on the device" if fits else "stay in memory"
    log.info("training images: %.2f GB %s, of whose memory %.2f GB were free", needed / 1e9, told, free / 1e9)
    return table.to(device) if fits else table
