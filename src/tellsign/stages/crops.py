"""Decode the images of a split into one memory-mapped file of 8-bit pixels.

Reads a split and the benchmark's folders. Writes a folder: pixels.npy, (total pixels, 3) uint8, one image
after another, and images.parquet: id, height, width, offset (in pixels). Every image is stored once, however
many subsets share it.

In this order: decode; bias control (common centre crop, common JPEG), the same for real and fake; perturbation,
whose draws follow only from its seed and the image id; resizing; centre crop, if `store` is `center` (images smaller
than the crop are tiled). A file whose bytes changed since it was indexed is an error.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tellsign.data.images import (
    BIAS_CONTROLS,
    center_window,
    control_bias,
    decode,
    in_order,
    read_checked,
    resized,
    resized_shape,
)
from tellsign.data.perturbations import PERTURBATIONS
from tellsign.errors import choose
from tellsign.system.devices import threads
from tellsign.system.files import folder_beside
from tellsign.system.parquet import read_rows, write_rows
from tellsign.system.progress import progress

log = logging.getLogger(__name__)

Pixels = UInt8[np.ndarray, "h w 3"]
STORES = ("whole", "center")


def perturbation(settings: dict) -> Callable[[Pixels, str], Pixels]:
    """The perturbation of an image with a given id.

    Raises:
        UserError: the name is unknown.
    """
    change = PERTURBATIONS.load(settings["name"])

    def apply(image: Pixels, image_id: str) -> Pixels:
        key = hashlib.sha256(f"perturb {settings['seed']} {image_id}".encode()).digest()
        return change(image, np.random.default_rng(int.from_bytes(key)), **settings["options"])

    return apply


def pixel_counts(rows: list[dict[str, Any]], settings: dict) -> list[int]:
    """Number of pixels that each image will take, from the sizes in the split."""
    if settings["store"] == "center":
        return [settings["size"] ** 2] * len(rows)
    return [height * width for height, width in shapes_before_crop(rows, settings)]


def shapes_before_crop(rows: list[dict[str, Any]], settings: dict) -> list[tuple[int, int]]:
    """Height and width of each image after bias control and resizing, from the sizes in the split."""
    shapes = [(row["height"], row["width"]) for row in rows]
    if BIAS_CONTROLS[settings["bias_control"]].crop:
        shapes = [(settings["bias_size"],) * 2] * len(rows)
    if (resize := settings["resize"]) is not None:
        shapes = [resized_shape(*shape, resize["mode"], resize["size"]) for shape in shapes]
    return shapes


def report_tiled(rows: list[dict[str, Any]], settings: dict) -> None:
    """Log how many images are smaller than a crop they go through, and were therefore tiled."""
    sides = {row["id"]: min(row["height"], row["width"]) for row in rows}
    if BIAS_CONTROLS[settings["bias_control"]].crop:
        small = sum(side < settings["bias_size"] for side in sides.values())
        log.info("common crop of %d px: %d of %d images tiled", settings["bias_size"], small, len(sides))
    if settings["store"] == "center":
        small = sum(min(shape) < settings["size"] for shape in shapes_before_crop(rows, settings))
        log.info("centre crop of %d px: %d of %d images tiled", settings["size"], small, len(sides))


def main(*, settings: dict, split: Path, roots: dict[str, Path], out: Path) -> None:
    """Make the crops of one split.

    Args:
        settings: store (``whole`` or ``center``), size (side of the centre crop, pixels), bias_control (``none``,
            ``jpeg``, ``jpeg+size``), bias_quality, bias_size, perturbation (name, options, seed), resize (null, or
            mode, size, filter).
        split: the split.
        roots: key → folder.
        out: the folder to write.

    Raises:
        UserError: a file is gone or has changed, or a name is unknown.
    """
    choose(dict.fromkeys(STORES), settings["store"], "store")
    control = choose(BIAS_CONTROLS, settings["bias_control"], "bias control")
    perturb = perturbation(settings["perturbation"])
    rows = list({row["id"]: row for row in reversed(read_rows(split).to_pylist())}.values())[::-1]

    def make(row: dict[str, Any]) -> Pixels:
        image = decode(read_checked(roots[row["root"]] / row["path"], row["id"])).pixels
        image = control_bias(image, control, quality=settings["bias_quality"], size=settings["bias_size"])
        image = perturb(image, row["id"])
        if settings["resize"] is not None:
            image = resized(image, **settings["resize"])
        return center_window(image, settings["size"]) if settings["store"] == "center" else image

    counts = pixel_counts(rows, settings)
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    report_tiled(rows, settings)
    shapes = []
    with folder_beside(out) as part:
        pixels = np.lib.format.open_memmap(part / "pixels.npy", mode="w+", dtype=np.uint8, shape=(int(offsets[-1]), 3))
        with (part / "pixels.npy").open("r+b") as stream:  # a full disk is an error here; under a map it is a signal
            os.posix_fallocate(stream.fileno(), 0, pixels.nbytes + pixels.offset)
        images = progress(in_order(make, rows, threads()), len(rows), "crops")
        for start, end, image in zip(offsets[:-1], offsets[1:], images, strict=True):
            pixels[start:end] = image.reshape(-1, 3)
            shapes.append(image.shape[:2])
        pixels.flush()
        del pixels
        heights, widths = zip(*shapes, strict=True)
        columns = {
            "id": [row["id"] for row in rows],
            "height": np.array(heights, np.int32),
            "width": np.array(widths, np.int32),
            "offset": offsets[:-1],
        }
        write_rows(part / "images.parquet", columns)
