"""The demo's CLIPs, whole or their image towers alone."""

from __future__ import annotations

from tellsign.demo import towers
from tellsign.networks.backbones.backbone import Backbone, Clip


def image_tower(kind: str) -> Backbone:
    """The image tower of a demo CLIP, ``vit`` or ``rn``."""
    if kind == "vit":
        net, layer = towers.VisionTransformer(), "blocks.3.norm_1"
    else:
        net, layer = towers.ModifiedResNet(), "stages"
    return Backbone(net, towers.ColourAndResidual(), dim=towers.EMBEDDING, size=towers.CROP, map_layer=layer)


def clip(kind: str) -> Clip:
    """A demo CLIP, ``vit`` or ``rn``."""
    return Clip(image_tower(kind), towers.TextTransformer(), towers.encode)
