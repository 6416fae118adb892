"""From cached features to TIDY's representation, by a recipe's choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from tellsign.data.features import Features
from tellsign.methods.discrepancy import discrepancy


def representation(features: Features, settings: Mapping[str, Any]) -> Float[Tensor, "n d"]:
    """TIDY's D of every image, by the recipe's choices (its ``discrepancy`` section)."""
    return discrepancy(
        features.image,
        features.text,
        features.object_image,
        features.object_text,
        features.object_row,
        use=settings["use"],
        weights=tuple(settings["weights"]),
        normalise=settings["normalise"],
        no_object=settings["no_object"],
    )
