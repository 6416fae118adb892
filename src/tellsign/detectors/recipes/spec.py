"""The recipe of Spec."""

from __future__ import annotations

from typing import Literal

from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, Optimiser, Precision, Resize

SQUARE = Resize(mode="squash", size=256, filter="opencv")


class SpecRecipe(CropRecipe):
    """Everything that can change a number of one training of Spec; the defaults are its public code's.

    Attributes:
        weights: As every detector's, or those of a ResNet-34 of ImageNet, which training then starts from.
        band: Frequencies that are seen: ``full``, ``low``, ``middle`` or ``high``.
    """

    method: str = "spec"
    weights: str = "resnet34-tv"
    band: Literal["full", "low", "middle", "high"] = "full"
    resize: Resize | None = SQUARE
    resize_test: Resize | None = SQUARE
    crop_test: Positive[int] = 224
    flip: bool = False
    optimiser: Optimiser = OPTIMISER_SETTINGS["sgd"](lr=0.01, weight_decay=1e-4, dampening=0.9)
    epochs: NonNegative[int] = 9
    batch_size: Positive[int] = 16
    precision: Precision = "fp32"
