"""What a grounder does, and the one that a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tellsign.networks.grounders import GROUNDERS

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import UInt8


class Grounding(NamedTuple):
    """Where a phrase is: corners in pixels of the original image, and p that it is there."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float


NOWHERE = Grounding(0.0, 0.0, 0.0, 0.0, 0.0)
"""A phrase without any box; no threshold takes it for found."""


class Grounder(Protocol):
    """What a grounder does."""

    def phrases(self, caption: str) -> list[str]:
        """The phrases of a caption that name objects, in order, each once."""
        ...

    def ground(
        self, images: list[UInt8[np.ndarray, "h w 3"]], captions: list[str], phrases: list[list[str]]
    ) -> list[list[Grounding]]:
        """The best box of each phrase of each image; `NOWHERE` for a phrase without one."""
        ...

    def to(self, device: torch.device) -> Any:
        """Move to a device, as torch modules do."""
        ...


def load_grounder(settings: Mapping[str, Any], batch_size: int) -> Grounder:
    """Build a grounder, ready to use, on the CPU.

    Args:
        settings: Fields of the recipe's grounder (see `tellsign.schema`), weights given by path.
        batch_size: Images that are grounded together.

    Raises:
        UserError: unknown name, missing or unfit weights.
    """
    return GROUNDERS.load(settings["name"])(settings, batch_size)
