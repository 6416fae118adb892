"""The recipe of Effort."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from tellsign.detectors.recipes.on_clip import ClipRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, Optimiser


class EffortRecipe(ClipRecipe):
    """Everything that can change a number of one training of Effort; the defaults are its code's for ProGAN.

    The released checkpoints for faces, GenImage and Chameleon have ``outputs: 2`` and see ``resize_test: {mode: squash,
    size: 224, filter: opencv}``.

    Attributes:
        trained: How many of the smallest singular triples of each layer are trained.
        orthogonality, growth: Weights of the paper's losses that keep singular vectors orthonormal and the sum of
            squared singular values as it was; its public code has switched both off. They need ``weights: none``.
        outputs: 1 for a logit of fake, 2 for one of real and one of fake.
    """

    method: str = "effort"
    trained: Positive[int] = 1
    outputs: Literal[1, 2] = 1
    orthogonality: NonNegative[float] = 0.0
    growth: NonNegative[float] = 0.0
    canvas: Positive[int] | None = 256
    optimiser: Optimiser = OPTIMISER_SETTINGS["adamw"](lr=2e-4, weight_decay=0.0)
    epochs: NonNegative[int] = 1
    batch_size: Positive[int] = 48

    @model_validator(mode="after")
    def _decomposed_here(self) -> Self:
        if self.weights != "none" and (self.orthogonality or self.growth):
            raise ValueError("orthogonality and growth compare with the CLIP's own layers; they need weights: none.")
        return self
