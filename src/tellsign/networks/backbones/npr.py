"""NPR's network as a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from tellsign.networks import npr
from tellsign.networks.backbones.backbone import Backbone, Standardise


def network(mean: Sequence[float], std: Sequence[float]) -> Backbone:
    """The residual and the shortened ResNet-50 of NPR (Tan et al. 2024)."""
    return Backbone(npr.network(), Standardise(mean, std), dim=512, size=None, map_layer="layer2")
