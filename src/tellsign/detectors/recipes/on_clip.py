"""The recipe of detectors that are a network around a CLIP's image tower (`tellsign.detectors.on_clip`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from tellsign.data.augmentations import AUGMENTATIONS
from tellsign.detectors.recipes.base import OwnNetwork, Pixels, Source, Work
from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.networks.backbones import BACKBONES
from tellsign.registry import Record
from tellsign.schema.fields import Positive
from tellsign.schema.networks import Encoder
from tellsign.schema.training import AUGMENT_SETTINGS, Augment, Resize


class ClipRecipe(CropRecipe):
    """Everything that can change a number of one training of such a detector.

    Attributes:
        backbone: The CLIP whose image tower it is built around.
        weights: A published file of the detector, which ``epochs: 0`` scores as it is; ``none`` starts from the
            backbone's weights and random ones.
        augment: What is done to each training image anew in each epoch, after resizing and before cropping.
        rotate: Rotations by random multiples of 90 degrees.
        epoch_steps: Batches of an epoch, the first of a new random order; null takes every image once.
        smaller: What is put around a test image smaller than the crop: copies of itself (``tile``) or a ``black``
            border. Without effect on the training.
        canvas: A test image is repeated until it has this many pixels both ways; null for the crop's side. Without
            effect on the training.
    """

    backbone: Encoder = Encoder(name="clip-vit-l14", weights="clip-vit-l14")
    resize: Resize | None = None
    augment: Augment = AUGMENT_SETTINGS["none"]()
    resize_test: Resize | None = None
    crop_test: Positive[int] = 224
    rotate: bool = False
    epoch_steps: Positive[int] | None = None
    smaller: Literal["tile", "black"] = "tile"
    canvas: Positive[int] | None = None

    without_effect: ClassVar[frozenset[str]] = CropRecipe.without_effect | {"smaller", "canvas"}
    through_tower: ClassVar[bool] = True
    """Whether a training computes gradients through the tower."""

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.canvas is not None and (self.smaller != "tile" or self.canvas < self.crop_test):
            raise ValueError(f"canvas is {self.canvas}; it needs smaller: tile, and at least {self.crop_test} pixels.")
        if self.crop != self.crop_test:
            raise ValueError(f"crop is {self.crop}, crop_test {self.crop_test}; a CLIP's tower takes one size.")
        return self

    def networks(self) -> dict[str, Encoder | OwnNetwork]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The CLIP, and the detector's own network, which has the method's name."""
        return {"backbone": self.backbone, "network": OwnNetwork(self.method, self.weights, self.backbone.front)}

    def network_entries(self) -> tuple[Record, ...]:
        """The CLIP's; the rest is in the method's module."""
        return (BACKBONES.find(self.backbone.name),)

    def training_entries(self) -> tuple[Record, ...]:
        """See `Recipe.training_entries`."""
        return (AUGMENTATIONS.find(self.augment.name), *super().training_entries())

    def test_inputs(self) -> dict[str, Source]:
        """Centre crops, or whole images where these are not cut as everywhere."""
        whole = self.smaller != "tile" or self.canvas is not None
        return {"crops": Pixels(None if whole else self.crop_test, self.resize_test)}

    def view(self) -> dict[str, Any]:
        """How centre crops are cut."""
        return {"crop": self.crop_test, "smaller": self.smaller, "canvas": self.canvas}

    @classmethod
    def work(cls, settings: Mapping[str, Any], view: Mapping[str, Any] | None = None) -> Work:
        """See `Recipe.work`: the tower's."""
        side = (settings if view is None else view)["crop"]
        return Work(settings["backbone"]["name"], side, view is None and cls.through_tower)
