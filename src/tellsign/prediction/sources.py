"""What to predict with: a checkpoint or a published file, and how it looks at pictures. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellsign.schema.data import Bias, Perturbation
from tellsign.schema.loading import plain
from tellsign.schema.training import Resize


@dataclass(frozen=True)
class Source:
    """A checkpoint and its protocol.

    Attributes:
        name: What its column is called.
        place: The checkpoint folder, or the published file of a `released` detector.
        view: What its method must know of how pictures are looked at (`tellsign.detectors.protocol.Method.restore`).
        crops: What is done to a picture: the settings of `tellsign.stages.crops`.
        networks: Networks whose weights the checkpoint leaves in their own file; None for where they lay when it was
            trained.
        sides: Shortest and longest shorter side of its training images, in pixels; None where that is not known.
        released: The settings of a published detector, which nothing trains here; None for a checkpoint folder.
    """

    name: str
    place: Path
    view: Mapping[str, Any]
    crops: Mapping[str, Any]
    networks: Mapping[str, Any] | None = None
    sides: tuple[int, int] | None = None
    released: Mapping[str, Any] | None = None

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


def centre_crop(side: int | None, resize: Resize | None = None) -> dict[str, Any]:
    """Settings of `tellsign.stages.crops` for the centre crop of a picture as it is, or of the whole one without a
    side, resized before or not.
    """
    bias = Bias()
    return {
        "store": "whole" if side is None else "center",
        "size": side or 0,
        "perturbation": plain(Perturbation()),
        "bias_control": bias.control,
        "bias_quality": 0,
        "bias_size": 0,
        "resize": plain(resize),
    }
