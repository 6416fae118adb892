"""The recipe of F3-Net."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, Optimiser, Precision, Resize

SQUARE = Resize(mode="squash", size=299, filter="bicubic")


def map_sides(crop: int) -> tuple[int, int]:
    """Sides of the maps that the two streams would exchange for crops of this side: of the image's, of the windows'."""
    image, windows = (crop - 3) // 2 - 1, (crop - 2) // 2 - 3
    for _ in range(3):  # three blocks halve
        image, windows = (image - 1) // 2 + 1, (windows - 1) // 2 + 1
    return image, windows


class F3NetRecipe(CropRecipe):
    """Everything that can change a number of one training of F3-Net; the defaults are its public code's.

    Attributes:
        version: ``mix`` has both streams and lets them attend to each other, as the paper and GenImage's code; ``both``
            joins the two streams at the end, as the code that is used most, ``fad`` and ``lfs`` have one of them.
        weights: As every detector's, or those of an Xception of ImageNet, which both streams then start from.
        crop, crop_test: The network is built for one side, so both are the same.
    """

    method: str = "f3net"
    version: Literal["mix", "both", "fad", "lfs"] = "mix"
    weights: str = "legacy-xception"
    resize: Resize | None = SQUARE
    crop: Positive[int] = 299
    resize_test: Resize | None = SQUARE
    crop_test: Positive[int] = 299
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=2e-4)
    epochs: NonNegative[int] = 5
    batch_size: Positive[int] = 12
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.crop != self.crop_test:
            raise ValueError(f"crop is {self.crop} and crop_test {self.crop_test}; the filters have one side for both.")
        image, windows = map_sides(self.crop)
        if min(image, windows) < 2:
            raise ValueError(f"crop is {self.crop}; Xception needs at least 26 pixels.")
        if self.version == "mix" and image != windows:
            raise ValueError(
                f"crop is {self.crop}; the streams' maps would have sides {image} and {windows}, and cannot be mixed. "
                "The paper's is 299."
            )
        return self
