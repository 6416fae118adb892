"""The recipe of FreqNet."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import NonNegative
from tellsign.schema.training import OPTIMISER_SETTINGS, SCHEDULE_SETTINGS, Optimiser, Precision, Schedule


class FreqNetRecipe(CropRecipe):
    """Everything that can change a number of one training of FreqNet; the defaults are its public code's.

    Attributes:
        precision: ``fp32`` alone.
    """

    method: str = "freqnet"
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=1e-3)
    schedule: Schedule = SCHEDULE_SETTINGS["step"](every=10, factor=0.8)
    epochs: NonNegative[int] = 85
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _single_precision(self) -> Self:
        if self.precision != "fp32":
            raise ValueError("its Fourier transforms are computed in single precision; write precision: fp32.")
        return self
