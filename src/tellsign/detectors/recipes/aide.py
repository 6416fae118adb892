"""The recipe of AIDE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from tellsign.detectors.recipes.base import OwnNetwork, Pixels, Source, Work
from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.networks.backbones import BACKBONES
from tellsign.registry import Record
from tellsign.schema.fields import Fraction, NonNegative, Positive
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


class AideRecipe(CropRecipe):
    """Everything that can change a number of one training of AIDE; the defaults are its public code's.

    Nothing is cropped: `crop` and `crop_test` have no effect.

    Attributes:
        backbone: The frozen network that sees the whole image, a ConvNeXt of timm. A published file of AIDE holds it;
            a training needs the file of its CLIP here, because a random one would tell nothing.
        weights: As every detector's, or ImageNet's of a ResNet-50 (``resnet50``), from which all of both ResNets but
            their first and last layer then starts.
        side: To which windows and whole images are resized, in pixels.
        blurred, compressed: Share of the training images that are blurred, and that are compressed as JPEG.
        smoothing: A fake's label is 1 less half of this, a real's half of this.
    """

    method: str = "aide"
    backbone: Encoder = Encoder(name="timm:convnext_xxlarge.clip_laion2b_soup", weights="none")
    side: Positive[int] = 256
    blurred: Fraction = 0.1
    compressed: Fraction = 0.1
    smoothing: Fraction = 0.1
    resize: Resize | None = None
    resize_test: Resize | None = None
    flip: bool = False
    optimiser: Optimiser = OPTIMISER_SETTINGS["adamw"](lr=1e-4, weight_decay=0.0)
    schedule: Schedule = SCHEDULE_SETTINGS["cosine"](floor=1e-6)
    epochs: NonNegative[int] = 20
    batch_size: Positive[int] = 256
    precision: Precision = "fp32"
    stop: EarlyStopping | None = None

    @model_validator(mode="after")
    def _is_a_convnext(self) -> Self:
        if not self.backbone.name.startswith("timm:convnext"):
            raise ValueError(f"backbone is {self.backbone.name}; AIDE needs a ConvNeXt of timm, timm:convnext_….")
        if self.flip:
            raise ValueError(
                "flip is true; AIDE's windows are chosen in images that are not turned: write flip: false."
            )
        return self

    def networks(self) -> dict[str, Encoder | OwnNetwork]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The frozen network, and the detector's own."""
        return {"backbone": self.backbone, "network": OwnNetwork(self.method, self.weights)}

    def network_entries(self) -> tuple[Record, ...]:
        """The frozen network's; the rest is in the method's module."""
        return (BACKBONES.find(self.backbone.name),)

    def validation_inputs(self) -> dict[str, Source]:
        """Whole images."""
        return {"crops": Pixels(None, self.resize)}

    def test_inputs(self) -> dict[str, Source]:
        """Whole images."""
        return {"crops": Pixels(None, self.resize_test)}

    def view(self) -> dict[str, Any]:
        """To what windows and images are resized."""
        return {"crop": self.side}

    @classmethod
    def work(cls, settings: Mapping[str, Any], view: Mapping[str, Any] | None = None) -> Work:
        """See `Recipe.work`: the frozen network's, which is the largest."""
        return Work(settings["backbone"]["name"], settings["side"] if view is None else view["crop"], False)
