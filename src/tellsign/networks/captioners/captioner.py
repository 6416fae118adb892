"""What a captioner does, and the one that a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tellsign.networks.captioners import CAPTIONERS

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


def load_captioner(settings: Mapping[str, Any], batch_size: int) -> Captioner:
    """Build a captioner, ready to use, on the CPU.

    Args:
        settings: Fields of the recipe's captioner (see `tellsign.schema`), weights given by path.
        batch_size: Images that are captioned together.

    Raises:
        UserError: unknown name, missing or unfit weights.
    """
    return CAPTIONERS.load(settings["name"])(settings, batch_size)
