"""Make the demo's photographs: scenes through a camera and, but for ``pretrain``, through the web.

Reads nothing. Settings: part, count, side (of the scene, pixels), seed.

Writes a folder: images named by a counter and ``scenes.parquet``, the ground truth, with one row an image:
file, caption, width, height, phrases (list of text), x0, y0, x1, y1 (lists of pixels of the saved image, one
box a phrase).

Parts: ``pretrain`` (camera originals, PNG), ``source`` (what the generators learn from, JPEG), ``train`` and
``test`` (the benchmark's real images, JPEG, under ``0_real/``), ``prompt_train`` and ``prompt_test`` (what
the generators make the benchmark's fakes of, PNG: the JPEG comes after the generator).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellsign.demo.camera import camera
from tellsign.demo.scenes import caption, scene
from tellsign.demo.web import jpeg_bytes, jpeg_quality, png_bytes, rescale
from tellsign.errors import choose
from tellsign.system.files import folder_beside
from tellsign.system.parquet import write_rows
from tellsign.system.progress import progress


@dataclass(frozen=True)
class PhotoSet:
    """How the images of a part are made; ``stream`` separates the parts' draws."""

    stream: int
    folder: str
    web: bool
    jpeg: bool


PHOTO_SETS: dict[str, PhotoSet] = {
    "pretrain": PhotoSet(0, "", web=False, jpeg=False),
    "source": PhotoSet(1, "", web=True, jpeg=True),
    "train": PhotoSet(2, "0_real", web=True, jpeg=True),
    "test": PhotoSet(3, "0_real", web=True, jpeg=True),
    "prompt_train": PhotoSet(4, "", web=True, jpeg=False),
    "prompt_test": PhotoSet(5, "", web=True, jpeg=False),
}


def main(*, settings: dict[str, Any], out: Path) -> None:
    """Write one part.

    Args:
        settings: part (a key of ``PHOTO_SETS``), count, side, seed.
        out: The folder to make.
    """
    part = choose(PHOTO_SETS, settings["part"], "part of the demo")
    columns: dict[str, list[Any]] = {
        name: [] for name in ("file", "caption", "width", "height", "phrases", "x0", "y0", "x1", "y1")
    }
    with folder_beside(out) as folder:
        (folder / part.folder).mkdir(exist_ok=True)
        for i in progress(range(settings["count"]), settings["count"], f"photographs: {settings['part']}"):
            generator = np.random.default_rng([settings["seed"], part.stream, i])
            image, truth = scene(generator, settings["side"])
            pixels = camera(image, generator)
            full = pixels.shape[:2]
            if part.web:
                pixels, full = rescale(pixels, generator)
            height, width = pixels.shape[:2]
            name = Path(part.folder, f"{i:05d}.{'jpg' if part.jpeg else 'png'}").as_posix()
            content = jpeg_bytes(pixels, jpeg_quality(generator)) if part.jpeg else png_bytes(pixels)
            (folder / name).write_bytes(content)
            corners = np.array([item.box for item in truth.objects]) * [full[1], full[0], full[1], full[0]]
            corners = np.clip(corners, 0, [width, height, width, height])
            row = (
                name,
                caption(truth),
                width,
                height,
                [item.phrase for item in truth.objects],
                *corners.T.tolist(),
            )
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
        write_rows(folder / "scenes.parquet", columns)
