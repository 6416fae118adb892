"""The demo's grounder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tellsign.networks.grounders.settings import GrounderSettings

if TYPE_CHECKING:
    from tellsign.networks.grounders.grounder import Grounder


class DemoGrounder(GrounderSettings):
    """The demo's grounder; its weights ship with the package."""

    name: Literal["demo"]
    weights: Literal["shipped"] = "shipped"


def demo(settings: Mapping[str, Any], batch_size: int) -> Grounder:
    """The grounder with the weights that ship with the package."""
    from tellsign.demo.grounder import load

    return load(settings, batch_size)
