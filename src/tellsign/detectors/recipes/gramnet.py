"""The recipe of GramNet."""

from __future__ import annotations

from tellsign.detectors.recipes.base import Pixels, Source
from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import Interval, NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, Optimiser, Precision, Resize

SQUARE = Resize(mode="squash", size=512, filter="opencv")


class GramNetRecipe(CropRecipe):
    """Everything that can change a number of one training of GramNet; the defaults are its public code's.

    Attributes:
        weights: As every detector's, or those of a ResNet-18 of ImageNet, which the trunk then starts from.
        shrink: Range of the side that each training image is first shrunk to, in pixels, anew in each epoch.
        crop: Side of the square that whole training images are then resized to; nothing is cut out.
    """

    method: str = "gramnet"
    weights: str = "resnet18-tv"
    resize: Resize | None = None
    shrink: Interval[Positive[int]] = (64, 256)
    crop: Positive[int] = 512
    resize_test: Resize | None = SQUARE
    crop_test: Positive[int] = 512
    flip: bool = False
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=1e-5, weight_decay=1e-4)
    epochs: NonNegative[int] = 5
    batch_size: Positive[int] = 14
    precision: Precision = "fp32"

    def validation_inputs(self) -> dict[str, Source]:
        """Whole images as they are tested, of the size that is trained on."""
        return {"crops": Pixels(self.crop, SQUARE.model_copy(update={"size": self.crop}))}
