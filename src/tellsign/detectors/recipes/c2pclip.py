"""The recipe of C2P-CLIP."""

from __future__ import annotations

from tellsign.detectors.recipes.on_clip import ClipRecipe
from tellsign.schema.fields import Fraction, NonNegative, Pair, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, Optimiser, Resize

SHORTER = Resize(mode="shorter", size=224)


class C2pClipRecipe(ClipRecipe):
    """Everything that can change a number of one training of C2P-CLIP; docs/decisions.md says what is guessed.

    Attributes:
        rank: Of the changes of the tower's layers of queries, keys and values.
        alpha: These changes count ``alpha / rank`` times.
        dropout: Of what they see.
        prompts: Texts for real and for fake.
        factor: Of the loss that draws features towards the prompt of their category.
    """

    method: str = "c2pclip"
    resize: Resize | None = SHORTER
    resize_test: Resize | None = SHORTER
    rank: Positive[int] = 6
    alpha: Positive[float] = 6.0
    dropout: Fraction = 0.8
    prompts: Pair[str] = ("Camera", "Deepfake")
    factor: NonNegative[float] = 1.0
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=4e-4)
    epochs: NonNegative[int] = 1
    batch_size: Positive[int] = 128
