"""Decode the images of a split into one memory-mapped file of 8-bit pixels.

Reads a split and the benchmark's folders. Writes a folder: pixels.npy, (total pixels, 3) uint8, one image
after another, and images.parquet: id, height, width, offset (in pixels). Every image is stored once, however
many subsets share it.

In this order: decode; bias control (common centre crop, common JPEG), the same for real and fake; perturbation,
whose draws follow only from its seed and the image id; resizing; centre crop, if `store` is `center` (images smaller
than the crop are tiled). A file whose bytes changed since it was indexed is an error.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellsign.data.images import BIAS_CONTROLS, decode, in_order, read_checked
from tellsign.data.preparation import Pixels, preparation, shapes_before_crop
from tellsign.system.devices import threads
from tellsign.system.files import folder_beside
from tellsign.system.parquet import read_rows, write_rows
from tellsign.system.progress import progress

log = logging.getLogger(__name__)


def pixel_counts(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[int]:
    """Number of pixels that each image will take, from the sizes in the split."""
    if settings["store"] == "center":
        return [settings["size"] ** 2] * len(rows)
    return [height * width for height, width in shapes_before_crop(rows, settings)]


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
    prepare = preparation(settings)
    rows = list({row["id"]: row for row in reversed(read_rows(split).to_pylist())}.values())[::-1]

    def make(row: dict[str, Any]) -> Pixels:
        return prepare(decode(read_checked(roots[row["root"]] / row["path"], row["id"])).pixels, row["id"])

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
