"""The recipe of GenImage's DeiT-S."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from tellsign.detectors.recipes.base import Pixels, Source
from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import Fraction, NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, SCHEDULE_SETTINGS, Optimiser, Resize, Schedule

SIDE = 224
"""What the position embeddings are for."""


class DeitRecipe(CropRecipe):
    """Everything that can change a number of one training of DeiT-S; the defaults are those of DeiT's code.

    GenImage's public code is a copy of it and says neither rates nor epochs.

    Attributes:
        weights: As every detector's, or ImageNet's (``deit-s``), whose last layer then starts anew.
        resize: Null: random parts of whole images are resized to the crop (``RandomResizedCrop``).
        randaugment: Operations on each crop, as timm writes them; empty for none.
        erasing: Share of the crops of which a rectangle becomes noise.
        mixup, cutmix: Parameter α of the Beta distribution of the share by which images of a batch are mixed, or cut
            out of one another; each batch does one of the two. 0 for never.
        smoothing: A fake's label is 1 less half of this, a real's half of this.
        drop_path: Share of the residual branches that a training step leaves out.
    """

    method: str = "deit-s"
    resize: Resize | None = None
    resize_test: Resize | None = Resize(mode="shorter", size=256, filter="bicubic")
    crop_test: Positive[int] = SIDE
    randaugment: str = "rand-m9-mstd0.5-inc1"
    erasing: Fraction = 0.25
    mixup: NonNegative[float] = 0.8
    cutmix: NonNegative[float] = 1.0
    smoothing: Fraction = 0.1
    drop_path: Fraction = 0.1
    optimiser: Optimiser = OPTIMISER_SETTINGS["adamw"](lr=1e-3, weight_decay=0.05)
    schedule: Schedule = SCHEDULE_SETTINGS["cosine"](warmup=5, floor=1e-5)
    epochs: NonNegative[int] = 300
    batch_size: Positive[int] = 1024

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.crop, self.crop_test) != (SIDE, SIDE):
            raise ValueError(f"crop is {self.crop} and crop_test {self.crop_test}; DeiT's positions are for {SIDE}.")
        return self

    def validation_inputs(self) -> dict[str, Source]:
        """Images as those of the test."""
        return {"crops": Pixels(self.crop_test, self.resize_test)}
