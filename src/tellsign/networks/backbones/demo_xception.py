"""The demo's small Xception as a backbone."""

from __future__ import annotations

from tellsign.demo import towers
from tellsign.networks.backbones.backbone import Backbone


def network() -> Backbone:
    """The demo's small Xception."""
    net = towers.MiniXception()
    return Backbone(net, towers.Residual(), dim=net.dim, size=None, map_layer="body")
