"""What to predict with: a trained checkpoint, and how it looks at pictures. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellsign.schema.data import Bias, Perturbation
from tellsign.schema.loading import plain


@dataclass(frozen=True)
class Source:
    """A checkpoint and its protocol.

    Attributes:
        name: What its column is called.
        folder: The checkpoint folder.
        view: What its method must know of how pictures are looked at (`tellsign.detectors.protocol.Method.restore`).
        crops: What is done to a picture: the settings of `tellsign.stages.crops`.
        networks: Networks whose weights the checkpoint leaves in their own file; None for where they lay when it was
            trained.
        sides: Shortest and longest shorter side of its training images, in pixels; None where that is not known.
    """

    name: str
    folder: Path
    view: Mapping[str, Any]
    crops: Mapping[str, Any]
    networks: Mapping[str, Any] | None = None
    sides: tuple[int, int] | None = None

    @property
    def protocol(self) -> str:
        """What is done to a picture, in words."""
        crops = self.crops
        steps = []
        if crops["bias_control"] != "none":
            size = f"common crop of {crops['bias_size']} px and " if crops["bias_control"] == "jpeg+size" else ""
            steps.append(f"{size}JPEG of quality {crops['bias_quality']}")
        if (resize := crops["resize"]) is not None:
            what = "squashed to" if resize["mode"] == "squash" else "shorter side to"
            steps.append(f"{what} {resize['size']} px ({resize['filter']})")
        steps.append(f"centre crop of {crops['size']} px" if crops["store"] == "center" else "whole picture")
        return ", ".join(steps)


def centre_crop(side: int) -> dict[str, Any]:
    """Settings of `tellsign.stages.crops` for the centre crop of a picture as it is."""
    bias = Bias()
    return {
        "store": "center",
        "size": side,
        "perturbation": plain(Perturbation()),
        "bias_control": bias.control,
        "bias_quality": 0,
        "bias_size": 0,
        "resize": None,
    }
