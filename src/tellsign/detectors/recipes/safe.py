"""The recipe of SAFE."""

from __future__ import annotations

from tellsign.detectors.recipes.base import Pixels, Source
from tellsign.detectors.recipes.whole_images import WholeImageRecipe
from tellsign.schema.fields import Fraction, NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, SCHEDULE_SETTINGS, Optimiser, Precision, Schedule


class SafeRecipe(WholeImageRecipe):
    """Everything that can change a number of one training of SAFE; the defaults are its public code's.

    Attributes:
        rotation: Training crops are turned by an angle between this and its negative, in degrees.
        jitter: Brightness, contrast and colour of training crops change by a factor of up to 1 ± this.
        masked: Share of training crops of which cells of 16 × 16 pixels are blackened.
        masked_most: Share of the cells of such a crop that are blackened at most.
        smoothing: A fake's label is 1 less half of this, a real's half of this.
        whole: Score whole images, as the public code's mode ``source``, instead of centre crops. Without effect on the
            training.
    """

    method: str = "safe"
    crop: Positive[int] = 256
    rotation: NonNegative[float] = 180.0
    jitter: Fraction = 0.5
    masked: Fraction = 0.5
    masked_most: Fraction = 0.75
    smoothing: Fraction = 0.1
    optimiser: Optimiser = OPTIMISER_SETTINGS["adamw"](lr=5e-3, weight_decay=0.01)
    schedule: Schedule = SCHEDULE_SETTINGS["cosine"](warmup=1, floor=1e-6)
    epochs: NonNegative[int] = 20
    batch_size: Positive[int] = 128
    precision: Precision = "fp32"

    def validation_inputs(self) -> dict[str, Source]:
        """Whole images: those that are smaller than a crop are padded with black, not tiled."""
        return {"crops": Pixels(None, self.resize)}

    def test_inputs(self) -> dict[str, Source]:
        """Whole images, for the same reason."""
        return {"crops": Pixels(None, self.resize_test)}
