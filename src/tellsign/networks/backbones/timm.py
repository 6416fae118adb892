"""Networks of timm as backbones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tellsign.errors import UserError, near_miss
from tellsign.networks.backbones.backbone import Backbone, Standardise
from tellsign.networks.backbones.maps import map_layer_of


def network(
    model: str,
    mean: Sequence[float],
    std: Sequence[float],
    map_layer: str,
    size: int | None = None,
    channels_last: bool = False,
) -> Backbone:
    """A network whose registry line says what it needs; see `Backbone`."""
    import timm

    net: Any = timm.create_model(model, pretrained=False, num_classes=0)
    front = Standardise(mean, std)
    return Backbone(net, front, dim=net.num_features, size=size, map_layer=map_layer, channels_last=channels_last)


def network_by_name(name: str) -> Backbone:
    """Any network of timm, with the normalisation, input size and classifier of timm's own configuration.

    Args:
        name: As timm writes it, with or without the tag of published weights: ``convnext_base.fb_in22k``. The tag
            decides the normalisation.

    Raises:
        UserError: timm has no such network.
    """
    import timm

    known = [*timm.list_models(), *timm.list_pretrained()]
    if name not in known:
        raise UserError(
            f"timm {timm.__version__} has no network {name!r}.{near_miss(name, known)} "
            "`python -c 'import timm; print(*timm.list_pretrained())'` lists all."
        )
    net: Any = timm.create_model(name, pretrained=False, num_classes=0)
    settings = net.pretrained_cfg
    classifiers = settings.get("classifier") or ()
    return Backbone(
        net,
        Standardise(settings["mean"], settings["std"]),
        dim=getattr(net, "head_hidden_size", None) or net.num_features,
        size=settings["input_size"][-1] if settings.get("fixed_input_size") else None,
        map_layer=map_layer_of(net),
        channels_last=getattr(net, "output_fmt", None) == "NHWC",
        classifiers=[classifiers] if isinstance(classifiers, str) else classifiers,
    )
