"""The recipes of Frank and of FreDect."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, Optimiser, Precision, Resize

SMALL, LARGE = Resize(mode="shorter", size=128), Resize(mode="shorter", size=256)


class CosineRecipe(CropRecipe):
    """What both say.

    Attributes:
        crop, crop_test: Statistics are those of coefficients of one side, so both are the same.
    """

    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.crop != self.crop_test:
            raise ValueError(
                f"crop is {self.crop} and crop_test {self.crop_test}; coefficients have one side for both."
            )
        return self


class FrankRecipe(CosineRecipe):
    """Everything that can change a number of one training of Frank; the defaults are its public code's.

    Attributes:
        version: The network: ``ridge`` (a linear layer with a penalty), ``cnn``, ``nn`` or ``resnet``.
        l2: The penalty of ``ridge``: this times the sum of squared weights.
    """

    method: str = "frank"
    version: Literal["cnn", "ridge", "nn", "resnet"] = "cnn"
    l2: NonNegative[float] = 0.01
    resize: Resize | None = SMALL
    crop: Positive[int] = 128
    resize_test: Resize | None = SMALL
    crop_test: Positive[int] = 128
    flip: bool = False
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=1e-3)
    epochs: NonNegative[int] = 50

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        least = {"resnet": 13, "cnn": 4}.get(self.version, 1)
        if self.crop < least:
            raise ValueError(f"crop is {self.crop}; version {self.version} needs {least} pixels or more.")
        return self


class FreDectRecipe(CosineRecipe):
    """Everything that can change a number of one training of FreDect; the defaults are its public code's.

    Attributes:
        weights: As every detector's, those of a ResNet-50 of ImageNet, or the folder of the published files:
            ``DCTAnalysis.pth``, ``auxiliary/dct_mean`` and ``auxiliary/dct_var``.
    """

    method: str = "fredect"
    weights: str = "resnet50"
    resize: Resize | None = LARGE
    resize_test: Resize | None = LARGE
    crop_test: Positive[int] = 224
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=1e-4)
    epochs: NonNegative[int] = 100
    batch_size: Positive[int] = 64
