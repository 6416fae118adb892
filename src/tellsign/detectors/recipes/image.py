"""The recipe of a backbone and a head on crops of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from tellsign.data.augmentations import AUGMENTATIONS
from tellsign.detectors.recipes.base import Recipe, Start, Work, optimisation_entries
from tellsign.detectors.recipes.crops import LooksAtCrops
from tellsign.methods.masks import MASKS
from tellsign.networks.heads import HEADS
from tellsign.registry import Record
from tellsign.schema.data import Bias
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.networks import HEAD_SETTINGS, Encoder, Head
from tellsign.schema.training import (
    AUGMENT_SETTINGS,
    MASK_SETTINGS,
    OPTIMISER_SETTINGS,
    SCHEDULE_SETTINGS,
    Augment,
    Data,
    EarlyStopping,
    Mask,
    Optimiser,
    Precision,
    Resize,
    Schedule,
)


class ImageRecipe(LooksAtCrops, Recipe):
    """Everything that can change a number of one training on images.

    Attributes:
        data: Training images.
        backbone: Network and weights.
        start: Where the weights come from instead: ``pretrain:NAME`` (an encoder) or ``run:NAME`` (a run of the
            same seed); null for the backbone's own.
        trainable: ``all`` (backbone and head) or ``head`` (the backbone is frozen).
        head: The classifier.
        resize: Resizing of the training and validation images; null for none.
        augment: What is done to each training image anew in each epoch, after resizing and before cropping.
        crop: Side of the random training crop and the centre test crop, in pixels.
        resize_test: Resizing of the test images; null for none. Without effect on the training.
        crop_test: Side of the centre test crop; null for ``crop``. Without effect on the training.
        flip: Horizontal flips, p = 0.5.
        rotate: Rotations by random multiples of 90 degrees.
        mask: Mask on the preprocessed tensor, while training only.
        batch_norm: ``train`` (batch statistics, as ``model.train()`` does) or ``frozen``.
        optimiser, schedule, epochs, batch_size: As usual; 0 epochs for the head ``nearest`` and for no other.
        epoch_steps: Batches of an epoch, the first of a new random order; null takes every image once. It sets how
            often weights are kept and the rate changes.
        stop: Early stopping; null trains all epochs and keeps the last.
        precision: ``bf16`` autocast, ``fp32``, or ``auto``: bf16 on CUDA and fp32 on a CPU.
        keep: Weights that are looked at: those of the last ``keep`` epochs. Runs that differ in this alone are trained
            once.
        bias: Bias control of the training and the test images.
        shots: Few-shot: adapt the start weights to each subset in turn, with this many images per label.
    """

    backbone: Encoder
    data: Data = Data()
    start: str | None = None
    trainable: Literal["all", "head"] = "all"
    head: Head = HEAD_SETTINGS["linear"]()
    resize: Resize | None = None
    augment: Augment = AUGMENT_SETTINGS["none"]()
    crop: Positive[int] = 224
    resize_test: Resize | None = None
    crop_test: Positive[int] | None = None
    flip: bool = True
    rotate: bool = True
    mask: Mask = MASK_SETTINGS["none"]()
    batch_norm: Literal["train", "frozen"] = "train"
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"]()
    schedule: Schedule = SCHEDULE_SETTINGS["step"]()
    epochs: NonNegative[int] = 10
    epoch_steps: Positive[int] | None = None
    stop: EarlyStopping | None = None
    batch_size: Positive[int] = 4
    precision: Precision = "auto"
    keep: Positive[int] = 1
    shots: Positive[int] | None = None
    bias: Bias = Bias()
    method: str = "image"

    without_effect: ClassVar[frozenset[str]] = frozenset({"keep", "resize_test", "crop_test"})
    enter_by_inputs: ClassVar[frozenset[str]] = frozenset({"bias", "resize"})

    @model_validator(mode="after")
    def _right_together(self) -> Self:
        nearest = self.head.name == "nearest"
        if nearest and (self.epochs != 0 or self.trainable != "head" or self.stop is not None):
            raise ValueError("the head 'nearest' trains nothing; write epochs: 0, trainable: head, no stop.")
        if not nearest and self.epochs == 0:
            raise ValueError("0 epochs train nothing; only the head 'nearest' goes without.")
        if self.stop is not None and (self.keep != 1 or self.shots is not None):
            raise ValueError("early stopping keeps the best epoch alone; write keep: 1 and no shots, or no stop.")
        if self.shots is not None and self.start is None:
            raise ValueError("it has shots but no start: say start: run:NAME.")
        if self.epoch_steps is not None and (self.shots is not None or nearest):
            raise ValueError("epoch_steps divides long trainings; write none with shots or the head 'nearest'.")
        if self.start is not None and self.origin().kind not in ("pretrain", "run"):
            raise ValueError(f"start is {self.start!r}; it must be pretrain:NAME or run:NAME.")
        if self.schedule.warmup > self.epochs:
            raise ValueError(f"schedule.warmup is {self.schedule.warmup} of {self.epochs} epochs.")
        if self.backbone.name == "npr" and (self.crop % 2 or (self.crop_test or 0) % 2):
            raise ValueError("NPR looks at cells of 2 × 2 pixels; crop and crop_test must be even.")
        return self

    def origin(self) -> Start:
        """See `Recipe.origin`."""
        kind, _, name = (self.start or "").partition(":")
        return Start(kind, name)

    def networks(self) -> dict[str, Encoder]:
        """See `Recipe.networks`."""
        return {"backbone": self.backbone}

    def network_entries(self) -> tuple[Record, ...]:
        """See `Recipe.network_entries`."""
        return (*super().network_entries(), HEADS.find(self.head.name))

    def training_entries(self) -> tuple[Record, ...]:
        """See `Recipe.training_entries`."""
        chosen = AUGMENTATIONS.find(self.augment.name), MASKS.find(self.mask.name)
        return (*chosen, *optimisation_entries(self.optimiser, self.schedule))

    def models_by_subset(self) -> bool:
        """See `Recipe.models_by_subset`."""
        return self.shots is not None

    def epochs_kept(self) -> int:
        """See `Recipe.epochs_kept`."""
        return 1 if self.models_by_subset() else min(self.keep, self.epochs)

    @classmethod
    def work(cls, settings: Mapping[str, Any], view: Mapping[str, Any] | None = None) -> Work | None:
        """See `Recipe.work`."""
        side = (settings if view is None else view)["crop"]
        return Work(settings["backbone"]["name"], side, view is None and settings["trainable"] == "all")

    def training_settings(self) -> dict[str, Any]:
        """See `Recipe.training_settings`: of ``start`` its kind, of ``stop`` what is not its split."""
        settings = super().training_settings()
        if settings["stop"] is not None:
            del settings["stop"]["split"]
        return settings | {"start": self.origin().kind or None}
