"""The recipe of FatFormer."""

from __future__ import annotations

from tellsign.detectors.recipes.on_clip import ClipRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, SCHEDULE_SETTINGS, Optimiser, Resize, Schedule

SQUARE = Resize(mode="squash", size=256)


class FatFormerRecipe(ClipRecipe):
    """Everything that can change a number of one training of FatFormer; docs/decisions.md says what is guessed.

    Attributes:
        adapters: How many of the CLIP's blocks have one.
        contexts: Vectors of the prompts that are learnt.
    """

    method: str = "fatformer"
    resize: Resize | None = SQUARE
    resize_test: Resize | None = SQUARE
    adapters: Positive[int] = 3
    contexts: Positive[int] = 8
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=4e-4)
    schedule: Schedule = SCHEDULE_SETTINGS["step"](every=10, factor=0.9)
    epochs: NonNegative[int] = 25
    batch_size: Positive[int] = 256
