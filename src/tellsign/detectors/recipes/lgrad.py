"""The recipe of LGrad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from tellsign.detectors.recipes.base import OwnNetwork, Pixels, Source
from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.networks import Encoder
from tellsign.schema.training import OPTIMISER_SETTINGS, SCHEDULE_SETTINGS, Optimiser, Precision, Schedule


class LGradRecipe(CropRecipe):
    """Everything that can change a number of one training of LGrad; the defaults are its public code's.

    Attributes:
        weights: As every detector's, or those of ImageNet's ResNet-50, whose last layer then starts anew.
        discriminator: Weights of the discriminator whose gradients are taken: a name in ``config/weights.yaml`` or
            ``config/detectors.yaml``, a path, or ``none`` (random: for tests alone).
        side: Of the images that the discriminator sees, a power of two; resizing gives images that are as large.
        crop: Side of the random training crop of a picture of gradients; such pictures are scored whole.
    """

    method: str = "lgrad"
    weights: str = "resnet50"
    discriminator: str = "lgrad-discriminator"
    side: Positive[int] = 256
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=5e-4)
    schedule: Schedule = SCHEDULE_SETTINGS["step"](every=10, factor=0.8)
    epochs: NonNegative[int] = 100
    batch_size: Positive[int] = 16
    precision: Precision = "fp32"

    enter_by_inputs: ClassVar[frozenset[str]] = CropRecipe.enter_by_inputs | {"discriminator"}

    @model_validator(mode="after")
    def _sides(self) -> Self:
        if self.side < 8 or self.side & (self.side - 1):
            raise ValueError(f"side is {self.side}; discriminators of StyleGAN see powers of two, such as 256.")
        if self.crop > self.side or self.crop_test != self.side:
            raise ValueError(
                f"crop is {self.crop} and crop_test {self.crop_test}; pictures of gradients have side {self.side}, are "
                "scored whole, and crops are cut out of them."
            )
        return self

    def networks(self) -> Mapping[str, Encoder | OwnNetwork]:
        """The classifier's start and the discriminator."""
        return {**super().networks(), "discriminator": OwnNetwork("stylegan-discriminator", self.discriminator)}

    def validation_inputs(self) -> dict[str, Source]:
        """Whole images, of which pictures of gradients are made."""
        return {"crops": Pixels(self.side, self.resize)}

    def view(self) -> dict[str, Any]:
        """The side of the pictures."""
        return {"crop": self.side}
