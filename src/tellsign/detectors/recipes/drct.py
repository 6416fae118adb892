"""The recipe of DRCT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tellsign.detectors.recipes.base import Work
from tellsign.detectors.recipes.on_clip import ClipRecipe
from tellsign.schema.fields import Fraction, NonNegative, Positive
from tellsign.schema.networks import Encoder
from tellsign.schema.training import (
    AUGMENT_SETTINGS,
    OPTIMISER_SETTINGS,
    SCHEDULE_SETTINGS,
    Augment,
    Optimiser,
    Schedule,
)


class DrctRecipe(ClipRecipe):
    """Everything that can change a number of one training of DRCT; the defaults are its public code's for ConvNeXt-B.

    With ``backbone: {name: clip-vit-l14, weights: clip-vit-l14}`` the CLIP stays frozen, and the public code takes
    ``batch_size: 512``.

    Attributes:
        backbone: A network of timm or a CLIP.
        width: Of the embedding.
        share: Of the contrastive loss; the cross-entropy has the rest.
    """

    method: str = "drct"
    backbone: Encoder = Encoder(name="timm:convnext_base.fb_in22k", weights="convnext-b")
    width: Positive[int] = 1024
    share: Fraction = 0.3
    augment: Augment = AUGMENT_SETTINGS["blur_jpeg"](name="blur_jpeg", sigma=(0.0, 0.0))
    rotate: bool = True
    optimiser: Optimiser = OPTIMISER_SETTINGS["adamw"](lr=1e-4, weight_decay=4e-5)
    schedule: Schedule = SCHEDULE_SETTINGS["cosine_waves"](kind="cosine_waves")
    epochs: NonNegative[int] = 17
    batch_size: Positive[int] = 128
    smaller: Literal["tile", "black"] = "black"

    @classmethod
    def work(cls, settings: Mapping[str, Any], view: Mapping[str, Any] | None = None) -> Work:
        """See `Recipe.work`: no gradients go through a CLIP."""
        work = super().work(settings, view)
        return work._replace(trained=work.trained and settings["backbone"]["name"].startswith("timm:"))
