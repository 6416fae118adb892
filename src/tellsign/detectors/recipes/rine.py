"""The recipe of RINE."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from tellsign.detectors.recipes.base import Pixels, Source
from tellsign.detectors.recipes.on_clip import ClipRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import (
    AUGMENT_SETTINGS,
    OPTIMISER_SETTINGS,
    SCHEDULE_SETTINGS,
    Augment,
    Optimiser,
    Schedule,
)


class RineRecipe(ClipRecipe):
    """Everything that can change a number of one training of RINE; the defaults are its public code's for 4 classes.

    Attributes:
        projections: Layers of each of the two projections.
        width: Of the projections.
        factor: Of the contrastive loss, whose mean stands beside the sum of the cross-entropy.
        ten_crops: Test images are scored by the mean logit of their corners and centre and of the same mirrored; all
            must be as large as the crop. Without effect on the training.
    """

    method: str = "rine"
    projections: Positive[int] = 2
    width: Positive[int] = 1024
    factor: NonNegative[float] = 0.2
    augment: Augment = AUGMENT_SETTINGS["blur_jpeg_of"](name="blur_jpeg_of")
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=1e-3)
    schedule: Schedule = SCHEDULE_SETTINGS["step"](every=5, factor=0.1)
    epochs: NonNegative[int] = 1
    batch_size: Positive[int] = 128
    smaller: Literal["tile", "black"] = "black"
    ten_crops: bool = False

    without_effect: ClassVar[frozenset[str]] = ClipRecipe.without_effect | {"ten_crops"}
    through_tower: ClassVar[bool] = False

    @model_validator(mode="after")
    def _has_a_clip(self) -> Self:
        if self.weights != "none" and self.backbone.weights == "none":
            raise ValueError("RINE's published files hold no CLIP; give backbone.weights.")
        return self

    def test_inputs(self) -> dict[str, Source]:
        """See `ClipRecipe.test_inputs`; ten crops are cut out of whole images."""
        return {"crops": Pixels(resize=self.resize_test)} if self.ten_crops else super().test_inputs()

    def view(self) -> dict[str, Any]:
        """See `ClipRecipe.view`."""
        return super().view() | {"ten_crops": self.ten_crops}
