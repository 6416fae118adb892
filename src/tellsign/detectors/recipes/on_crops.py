"""The recipe of detectors that are one network on crops of resized images (`tellsign.detectors.on_crops`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from tellsign.detectors.recipes.base import OwnNetwork, Recipe, Source, Work, optimisation_entries
from tellsign.detectors.recipes.crops import LooksAtCrops
from tellsign.registry import Record
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.networks import Encoder
from tellsign.schema.training import (
    OPTIMISER_SETTINGS,
    SCHEDULE_SETTINGS,
    EarlyStopping,
    Optimiser,
    Precision,
    Resize,
    Schedule,
)

SQUARE = Resize(mode="squash", size=256)


class CropRecipe(LooksAtCrops, Recipe):
    """Everything that can change a number of one training of such a detector.

    Attributes:
        weights: Where training starts: ``none`` (random), a name in ``config/weights.yaml``, or the path of a published
            checkpoint, which ``epochs: 0`` scores as it is.
        resize: Resizing of the training and validation images; null for none.
        crop: Side of the random training crop, in pixels.
        resize_test: Resizing of the test images; null for none. Without effect on the training.
        crop_test: Side of the centre test crop. Without effect on the training.
        flip: Horizontal flips, p = 0.5.
        precision: ``bf16`` autocast, ``fp32``, or ``auto``: bf16 on CUDA and fp32 on a CPU.
        optimiser, schedule, epochs, batch_size: As usual; 0 epochs train nothing.
        stop: Early stopping; null trains all epochs and keeps the last.
    """

    weights: str = "none"
    resize: Resize | None = SQUARE
    crop: Positive[int] = 224
    resize_test: Resize | None = SQUARE
    crop_test: Positive[int] = 256
    flip: bool = True
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"]()
    schedule: Schedule = SCHEDULE_SETTINGS["step"]()
    epochs: NonNegative[int] = 1
    batch_size: Positive[int] = 32
    precision: Precision = "auto"
    stop: EarlyStopping | None = None

    without_effect: ClassVar[frozenset[str]] = frozenset({"keep", "resize_test", "crop_test"})
    enter_by_inputs: ClassVar[frozenset[str]] = frozenset({"bias", "resize", "weights"})

    @model_validator(mode="after")
    def _right_together(self) -> Self:
        if self.epochs == 0 and (self.weights == "none" or self.stop is not None):
            raise ValueError("0 epochs train nothing; give weights of a published checkpoint, and no stop.")
        if self.stop is not None and self.keep != 1:
            raise ValueError("early stopping keeps the best epoch alone; write keep: 1, or no stop.")
        if 0 < self.epochs < self.schedule.warmup:
            raise ValueError(f"schedule.warmup is {self.schedule.warmup} of {self.epochs} epochs.")
        return self

    def inputs(self) -> dict[str, Source]:
        """Whole images; none where nothing is trained."""
        return super().inputs() if self.epochs else {}

    def networks(self) -> Mapping[str, Encoder | OwnNetwork]:
        """The detector's own network, which has the method's name."""
        return {"network": OwnNetwork(self.method, self.weights)}

    def network_entries(self) -> tuple[Record, ...]:
        """None: the network is in the method's module."""
        return ()

    def training_entries(self) -> tuple[Record, ...]:
        """See `Recipe.training_entries`."""
        return optimisation_entries(self.optimiser, self.schedule)

    def epochs_kept(self) -> int:
        """See `Recipe.epochs_kept`."""
        return max(min(self.keep, self.epochs), 1)

    @classmethod
    def work(cls, settings: Mapping[str, Any], view: Mapping[str, Any] | None = None) -> Work:
        """See `Recipe.work`."""
        side = (settings if view is None else view)["crop"]
        return Work(settings["method"], side, view is None)

    def training_settings(self) -> dict[str, Any]:
        """See `Recipe.training_settings`: of ``stop`` what is not its split."""
        settings = super().training_settings()
        if settings["stop"] is not None:
            del settings["stop"]["split"]
        return settings
