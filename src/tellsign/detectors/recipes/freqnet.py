"""The recipe of FreqNet."""

from __future__ import annotations

from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import NonNegative
from tellsign.schema.training import OPTIMISER_SETTINGS, SCHEDULE_SETTINGS, Optimiser, Schedule


class FreqNetRecipe(CropRecipe):
    """Everything that can change a number of one training of FreqNet; the defaults are its public code's."""

    method: str = "freqnet"
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=1e-3)
    schedule: Schedule = SCHEDULE_SETTINGS["step"](every=10, factor=0.8)
    epochs: NonNegative[int] = 85
