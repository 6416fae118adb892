"""The demo's small Xception as a backbone."""

from __future__ import annotations

from tellsign.demo import towers
from tellsign.networks.backbones.backbone import Backbone, Standardise


def network() -> Backbone:
    """The demo's small Xception."""
    net = towers.MiniXception()
    return Backbone(net, Standardise((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), dim=net.dim, size=None, map_layer="body")
