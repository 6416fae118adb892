"""The recipe of Patchfor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, Optimiser, Resize

SHORTER = Resize(mode="shorter", size=299, filter="lanczos")


class PatchforRecipe(CropRecipe):
    """Everything that can change a number of one training of Patchfor; the defaults are its public code's.

    Attributes:
        blocks: How many of Xception's blocks it has, 1 to 11; the more, the larger its patches.
        reading: How an image's score follows from its patches: the mean of their softmaxes (``after_softmax``), the
            softmax of their mean logits (``before_softmax``), or the share that votes fake (``vote``).
    """

    method: str = "patchfor"
    blocks: Annotated[int, Field(ge=1, le=11)] = 2
    reading: Literal["after_softmax", "before_softmax", "vote"] = "after_softmax"
    resize: Resize | None = SHORTER
    crop: Positive[int] = 299
    resize_test: Resize | None = SHORTER
    crop_test: Positive[int] = 299
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=1e-3)
    epochs: NonNegative[int] = 1000
