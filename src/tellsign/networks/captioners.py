"""Captioners: images to one sentence each."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tellsign.errors import choose

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import UInt8


class Captioner(Protocol):
    """What a captioner does."""

    def caption(self, images: list[UInt8[np.ndarray, "h w 3"]]) -> list[str]:
        """One sentence for each image (RGB, any sizes). An image's sentence depends on no other image."""
        ...

    def to(self, device: torch.device) -> Any:
        """Move to a device, as torch modules do."""
        ...


# Modules by name, imported only when chosen. Written as text so that the fingerprint of a caption holds the code
# of the captioner that made it, and of no other.
CAPTIONERS = {
    "demo": "tellsign.demo.captioner",
    "blip2": "tellsign.networks.vision_language",
    "blip": "tellsign.networks.vision_language",
    "llava": "tellsign.networks.vision_language",
}


def load_captioner(settings: Mapping[str, Any], batch_size: int) -> Captioner:
    """Build a captioner, ready to use, on the CPU.

    Args:
        settings: Fields of the recipe's captioner (see `tellsign.schema`), weights given by path.
        batch_size: Images that are captioned together.

    Raises:
        UserError: unknown name, missing or unfit weights.
    """
    module = importlib.import_module(choose(CAPTIONERS, settings["name"], "captioner"))
    return module.load(settings, batch_size)
