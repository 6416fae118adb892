"""The recipe of ForgeLens."""

from __future__ import annotations

from tellsign.detectors.recipes.on_clip import ClipRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, SCHEDULE_SETTINGS, Optimiser, Schedule


class ForgeLensRecipe(ClipRecipe):
    """Everything that can change a number of one training of ForgeLens; the defaults are its code's setting 1.

    Attributes:
        modules: Guidance modules, each shared by consecutive blocks of the CLIP.
        reduction: Their inner layers are so many times narrower than its tokens.
        layers, heads, inner_reduction: Of the transformer over class tokens.
        optimiser, schedule, epochs, batch_size: Of the first phase, which trains the guidance modules.
        second_lr, second_epochs, second_batch_size: Of the second phase, which trains the transformer.
    """

    method: str = "forgelens"
    modules: Positive[int] = 12
    reduction: Positive[int] = 4
    layers: Positive[int] = 2
    heads: Positive[int] = 2
    inner_reduction: Positive[int] = 1
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=5e-5)
    schedule: Schedule = SCHEDULE_SETTINGS["step"](every=2, factor=0.7)
    epochs: NonNegative[int] = 50
    batch_size: Positive[int] = 32
    second_lr: Positive[float] = 2e-6
    second_epochs: Positive[int] = 10
    second_batch_size: Positive[int] = 16

    def epochs_kept(self) -> int:
        """See `Recipe.epochs_kept`: of the second phase."""
        return min(self.keep, self.second_epochs) if self.epochs else 1
