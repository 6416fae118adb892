"""What a method of telling generated images from real ones is to the stages that train and score it.

The stages `tellsign.stages.train` and `tellsign.stages.score` know nothing of pixels, features, banks or losses. They
open the inputs that a method reads, run the phases that it yields through the one training loop, keep the weights, and
ask for scores. A method is added by its module and its line in `tellsign.detectors.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tellsign.training.early_stopping import EarlyStop
from tellsign.training.optimisers.build import Optimiser


@dataclass(frozen=True)
class Sample:
    """Labelled images.

    Attributes:
        ids: Their ids; an image that several subsets share stands once for each.
        labels: Their labels, 0 real or 1 fake.
        inputs: What the method's readers gave, by role. An input may hold further images, in an order of its own.
    """

    ids: Sequence[str]
    labels: Int64[Tensor, " n"]
    inputs: Mapping[str, Any]

    def rows(self, role: str) -> Int64[Tensor, " n"]:
        """The row of each image in the input of a role, one with a method ``rows_of``.

        Raises:
            UserError: an image is not in it.
        """
        return self.inputs[role].rows_of(self.ids)


@dataclass(frozen=True)
class Phase:
    """Epochs under one optimiser, one loss and one schedule: what the training loop runs and resumes.

    Attributes:
        loss: A batch to a scalar loss, of one term or the sum of several; it draws from the training's generator alone.
        batches: Gives the batches of one epoch; a batch has a length, its number of images.
        optimiser: Holds the parameters that this phase trains.
        epochs: Passes over the images; with ``stop`` their highest number.
        rate: Learning rate of an epoch (0-based).
        stop: Early stopping; the model holds the best epoch's weights when the phase has ended.
    """

    loss: Callable[[Any], Float[Tensor, ""]]
    batches: Callable[[], Iterator[Any]]
    optimiser: Optimiser
    epochs: int
    rate: Callable[[int], float]
    stop: EarlyStop | None = None


class Method(Protocol):
    """A detector with all that it takes to train it and to score pictures.

    Attributes:
        readers: Opens each input by its role, from the file or folder that the plan made for that role. What is opened
            has a method ``rows_of``, from image ids to rows, where `Sample.rows` is used.
        model: Everything learnt or stored. Its state is what a checkpoint holds, and all that one holds: statistics,
            banks and thresholds are buffers of it.
    """

    readers: ClassVar[Mapping[str, Callable[[Path], Any]]]
    model: nn.Module

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """The method before its training, its model on the device.

        Args:
            settings: The recipe, as the plan hands it to the training.
            sample: The training images, for what the model's shape depends on.
            start: The checkpoint folder or the encoder that the recipe starts from.
            device: Where batches are computed.

        Raises:
            UserError: weights are missing or do not fit.
        """
        ...

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """The method as a checkpoint's settings describe it, its model of the right shape on the device.

        Args:
            settings: What `begin` was given, with what `shape` says.
            view: How pictures are looked at when they are scored, where that is not the training's business.
            device: Where batches are computed.
        """
        ...

    def shape(self) -> dict[str, Any]:
        """What `restore` must know beside the recipe, as plain data: lengths that follow from the training images."""
        ...

    def phases(self, sample: Sample, validation: Sample | None, generator: torch.Generator) -> Iterator[Phase]:
        """The training, phase by phase; the next is asked for when the one before has ended.

        What stands before, between and after the phases is done in its turn: freezing, statistics, a bank of features.
        It runs again when a killed training resumes, so that it must depend on the model and the generator alone. A
        method without any phase trains nothing: its model is kept as it is when the iterator ends.

        Args:
            sample: The training images.
            validation: The images that early stopping looks at; None without.
            generator: Source of every draw.
        """
        ...

    def scores(self, inputs: Mapping[str, Any], ids: Sequence[str], batch_size: int) -> Float[np.ndarray, " n"]:
        """p(fake), in [0, 1], of pictures in the order of their ids; the model is in evaluation mode.

        Args:
            inputs: What the readers gave, by role.
            ids: The pictures.
            batch_size: Pictures computed at once, where it matters.
        """
        ...
