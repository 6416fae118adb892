"""What becomes of a decoded image before a detector's crops are cut out of it: bias control, perturbation, resizing.

Settings are those of the stage `crops`: store (``whole`` or ``center``), size (side of the centre crop, pixels),
bias_control (``none``, ``jpeg``, ``jpeg+size``), bias_quality, bias_size, perturbation (name, options, seed), resize
(null, or mode, size, filter).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tellsign.data.images import BIAS_CONTROLS, center_window, control_bias, resized, resized_shape
from tellsign.data.perturbations import PERTURBATIONS
from tellsign.errors import choose

Pixels = UInt8[np.ndarray, "h w 3"]
STORES = ("whole", "center")


def perturbation(settings: Mapping[str, Any]) -> Callable[[Pixels, str], Pixels]:
    """The perturbation of an image with a given id.

    Raises:
        UserError: the name is unknown.
    """
    change = PERTURBATIONS.load(settings["name"])

    def apply(image: Pixels, image_id: str) -> Pixels:
        key = hashlib.sha256(f"perturb {settings['seed']} {image_id}".encode()).digest()
        return change(image, np.random.default_rng(int.from_bytes(key)), **settings["options"])

    return apply


def preparation(settings: Mapping[str, Any]) -> Callable[[Pixels, str], Pixels]:
    """What becomes of a decoded image with a given id before it is stored, as the settings say.

    Raises:
        UserError: a name is unknown.
    """
    choose(dict.fromkeys(STORES), settings["store"], "store")
    control = choose(BIAS_CONTROLS, settings["bias_control"], "bias control")
    perturb = perturbation(settings["perturbation"])

    def prepare(image: Pixels, image_id: str) -> Pixels:
        image = control_bias(image, control, quality=settings["bias_quality"], size=settings["bias_size"])
        image = perturb(image, image_id)
        if settings["resize"] is not None:
            image = resized(image, **settings["resize"])
        return center_window(image, settings["size"]) if settings["store"] == "center" else image

    return prepare


def shapes_before_crop(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Height and width of each image after bias control and resizing, from the sizes in the split."""
    shapes = [(row["height"], row["width"]) for row in rows]
    if BIAS_CONTROLS[settings["bias_control"]].crop:
        shapes = [(settings["bias_size"],) * 2] * len(rows)
    if (resize := settings["resize"]) is not None:
        shapes = [resized_shape(*shape, resize["mode"], resize["size"]) for shape in shapes]
    return shapes
