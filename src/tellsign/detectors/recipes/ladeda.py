"""The recipes of LaDeDa and Tiny-LaDeDa."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from tellsign.detectors.recipes.base import Start
from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, Optimiser

Front = Literal["npr", "raw", "x_grad", "y_grad", "left_diag", "right_diag"]


class LadedaRecipe(CropRecipe):
    """Everything that can change a number of one training of LaDeDa.

    Attributes:
        front: What the network sees: NPR's residual, the image, or its gradient along rows, columns or a diagonal.
        front_scale: What that is multiplied with: 1, but 2/3 for the published checkpoint of ForenSynths.
    """

    method: str = "ladeda"
    front: Front = "npr"
    front_scale: Positive[float] = 1.0
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=2e-4)
    epochs: NonNegative[int] = 100

    @model_validator(mode="after")
    def _even_sides(self) -> Self:
        if self.front == "npr" and (self.crop % 2 or self.crop_test % 2):
            raise ValueError("NPR's residual looks at cells of 2 × 2 pixels; crop and crop_test must be even.")
        return self


class TinyLadedaRecipe(CropRecipe):
    """Everything that can change a number of one training of Tiny-LaDeDa.

    Attributes:
        front: As LaDeDa's.
        teacher: ``run:NAME``, the run of LaDeDa that it learns from, of the same paper and seed.
        batch_size: Images whose patches make a batch; one of 224 pixels has 729.
    """

    method: str = "tiny-ladeda"
    front: Front = "right_diag"
    teacher: str | None = None
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=2e-4)
    epochs: NonNegative[int] = 100
    batch_size: Positive[int] = 1

    @model_validator(mode="after")
    def _teacher_and_patches(self) -> Self:
        if (self.epochs == 0) != (self.teacher is None):
            raise ValueError("it learns from a run of LaDeDa: write teacher: run:NAME, or weights and epochs: 0.")
        if self.teacher is not None and self.origin().kind != "run":
            raise ValueError(f"teacher is {self.teacher!r}; it must be run:NAME.")
        if self.teacher is not None and self.weights != "none":
            raise ValueError("it has weights and a teacher; a training starts from random weights.")
        if self.crop % 8:
            raise ValueError(f"crop is {self.crop}; it must be a multiple of 8, the distance of LaDeDa's patches.")
        return self

    def origin(self) -> Start:
        """The teacher."""
        kind, _, name = (self.teacher or "").partition(":")
        return Start(kind, name)

    def training_settings(self) -> dict[str, Any]:
        """See `Recipe.training_settings`: of ``teacher`` its kind."""
        return super().training_settings() | {"teacher": self.origin().kind or None}
