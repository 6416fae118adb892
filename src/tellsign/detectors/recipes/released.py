"""The recipe of a published detector that is a backbone and one linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from tellsign.detectors.recipes.base import OwnNetwork, Work
from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.networks.backbones import BACKBONES
from tellsign.networks.heads import HEADS
from tellsign.registry import Record
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.networks import Encoder
from tellsign.schema.training import Resize


class ReleasedRecipe(CropRecipe):
    """How a published detector is scored. Nothing is trained.

    Attributes:
        backbone: Network, and weights where the published file holds the linear layer alone; else ``none``.
        weights: The published file: ``DETECTOR-NAME`` of ``config/detectors.yaml``, or a path.
        fake_class: Where its layer has two outputs, the one that means fake: 0 in GenImage's code, whose folders are
            ``ai`` and ``nature``.
    """

    method: str = "released"
    backbone: Encoder
    fake_class: Literal[0, 1] = 1
    resize: Resize | None = None
    resize_test: Resize | None = None
    crop_test: Positive[int] = 224
    epochs: NonNegative[int] = 0

    @model_validator(mode="after")
    def _trains_nothing(self) -> Self:
        if self.epochs:
            raise ValueError("it trains nothing; write epochs: 0, or take method: image.")
        return self

    def networks(self) -> dict[str, Encoder | OwnNetwork]:
        """The published file, and the backbone."""
        return {"network": OwnNetwork(self.backbone.name, self.weights), "backbone": self.backbone}

    def network_entries(self) -> tuple[Record, ...]:
        """See `Recipe.network_entries`."""
        return (BACKBONES.find(self.backbone.name), HEADS.find("linear"))

    @classmethod
    def work(cls, settings: Mapping[str, Any], view: Mapping[str, Any] | None = None) -> Work:
        """See `Recipe.work`."""
        return super().work({**settings, "method": settings["backbone"]["name"]}, view)
