"""Which network of a detector a training leaves as it is in its file of weights. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PART = "backbone"
"""The setting that says what network it is, and the model's part that is it."""


def frozen_network(settings: Mapping[str, Any]) -> dict[str, str] | None:
    """Name, place and digest of the network that a training does not change; None where it changes or has no file.

    Args:
        settings: Those of a training.
    """
    network = settings.get(PART, {})
    frozen = settings.get("trainable") == "head" and network.get("digest", "none") != "none"
    return dict(network) if frozen else None
