"""Backbones: networks that turn pixels into a feature vector, each with its own normalisation.

Full-size ones are built by open_clip (CLIP; Radford et al. 2021) and timm (Xception, Chollet 2017; ResNet-50, He et al.
2016; Swin, Liu et al. 2021); NPR's is in `tellsign.networks.npr`, the demo's are in `tellsign.demo.towers`. Every other
network of the two libraries is a backbone by the library's name: ``timm:convnext_base.fb_in22k``,
``open_clip:ViT-B-16-SigLIP``. Building needs no network: weights come from a file, ship with the package (demo), or are
random.
"""

from __future__ import annotations

from tellsign.registry import Record, Registry

_BUILDERS = "tellsign.networks.backbones"

_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
_SWIN = _IMAGENET | {"map_layer": "norm", "size": 224, "channels_last": True}
"""Windows of 7 on a grid of patches of 4 pixels, halved three times: 224 pixels and no other size."""

_CLIPS = {
    "clip-vit-l14": {"configuration": "ViT-L-14-quickgelu", "dim": 768},
    "clip-vit-b16": {"configuration": "ViT-B-16-quickgelu", "dim": 512},
    "clip-rn50": {"configuration": "RN50-quickgelu", "dim": 1024},
    "clip-rn101": {"configuration": "RN101-quickgelu", "dim": 512},
}
"""open_clip's configuration and length of the projected embedding. OpenAI trained with the quick GELU."""


def _demo(attribute: str, **options: str) -> Record:
    return Record(f"{_BUILDERS}.demo_clip", attribute, options=options)


def _open_clip(attribute: str, **options: str | int) -> Record:
    return Record(f"{_BUILDERS}.open_clip", attribute, options=options)


def _timm(model: str, **options: str | int | list[float]) -> Record:
    return Record(f"{_BUILDERS}.timm", "network", options={"model": model, **options})


BACKBONES = Registry(
    "backbone",
    {
        "demo-clip-vit": _demo("image_tower", kind="vit"),
        "demo-clip-rn": _demo("image_tower", kind="rn"),
        "demo-xception": Record(f"{_BUILDERS}.demo_xception", "network"),
        **{name: _open_clip("image_tower", **options) for name, options in _CLIPS.items()},
        "legacy-xception": _timm("legacy_xception", map_layer="act4", **_HALF),
        "resnet50": _timm("resnet50", map_layer="layer4", **_IMAGENET),
        "swin-t": _timm("swin_tiny_patch4_window7_224", **_SWIN),
        "swin-b": _timm("swin_base_patch4_window7_224", **_SWIN),
        "npr": Record(f"{_BUILDERS}.npr", "network", options=_IMAGENET),
        "open-clip": _open_clip("image_tower_in_folder"),
        "timm:": Record(f"{_BUILDERS}.timm", "network_by_name"),
        "open_clip:": _open_clip("image_tower_by_name"),
    },
)
"""``build()`` → `tellsign.networks.backbones.backbone.Backbone`; that of ``open-clip`` takes the folder."""

CLIPS = Registry(
    "CLIP",
    {
        "demo-clip-vit": _demo("clip", kind="vit"),
        "demo-clip-rn": _demo("clip", kind="rn"),
        **{name: _open_clip("clip", **options) for name, options in _CLIPS.items()},
        "open-clip": _open_clip("clip_in_folder"),
        "open_clip:": Record(f"{_BUILDERS}.open_clip_pair", "clip_by_name"),
    },
)
"""``build()`` → `tellsign.networks.backbones.backbone.Clip`."""

SHIPPED = tuple(name for name in CLIPS if name.startswith("demo-"))
"""Networks whose weights ship with the package."""
