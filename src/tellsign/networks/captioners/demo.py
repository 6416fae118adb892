"""The demo's captioner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    from tellsign.networks.captioners.captioner import Captioner


class DemoCaptioner(Settings):
    """The demo's captioner; its weights ship with the package."""

    name: Literal["demo"]
    weights: Literal["shipped"] = "shipped"


def demo(settings: Mapping[str, Any], batch_size: int) -> Captioner:
    """The captioner with the weights that ship with the package."""
    from tellsign.demo.captioner import load

    return load(settings, batch_size)
