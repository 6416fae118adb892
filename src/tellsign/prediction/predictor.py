"""Trained detectors applied to pictures, by the code that scores the test sets of the pipeline."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from tellsign.data.images import MAX_PIXELS, MIN_SIDE, RefusedError, decode
from tellsign.data.pixels import PixelTable
from tellsign.data.preparation import preparation, shapes_before_crop
from tellsign.detectors.checkpoints import read_recipe
from tellsign.detectors.protocol import Method, Sample
from tellsign.detectors.registry import METHODS
from tellsign.detectors.restoring import restored_methods
from tellsign.errors import UserError
from tellsign.networks.determinism import pick_device
from tellsign.prediction.sources import Source, centre_crop
from tellsign.system.integrity import sha256_once

T = TypeVar("T")
Pixels = UInt8[np.ndarray, "h w 3"]

NOT_IN_PNG = ("CMYK", "YCbCr", "LAB", "HSV")

BATCH = 64
"""Pictures computed at once, as in the stage `score`."""


class Predictor:
    """A trained detector, ready to score pictures.

    Args:
        source: The checkpoint and how it looks at pictures.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.

    Attributes:
        source: The same.
        recipe: The settings of its training.
        digest: The first 12 hex digits of the weights' sha256.

    Raises:
        UserError: the folder is no checkpoint, its weights do not fit or were changed, or its method needs more of a
            picture than its pixels.
    """

    def __init__(self, source: Source, device: str = "auto") -> None:
        self.source, self._prepare = source, preparation(source.crops)
        if source.released is not None:
            self.recipe, self.digest = dict(source.released), sha256_once(source.place)[:12]
            self.method = released_method(source.released, source.view, pick_device(device))
            return
        self.recipe = read_recipe(source.place)
        method = self.recipe["method"]
        if set(METHODS.load(method).readers) != {"crops"}:
            needs = ", ".join(METHODS.load(method).readers)
            raise UserError(
                f"{source.name}: the method {method!r} looks at {needs}, which follow from captions and boxes. "
                "`predict` makes none of these; test it on a folder by config/folder-tidy.yaml."
            )
        restored = list(restored_methods(source.place, 1, source.view, pick_device(device), source.networks))
        if restored[0][1]:
            targets = ", ".join(target for _, target, _ in restored)
            raise UserError(
                f"{source.name} has weights for each of {targets}, adapted to a few images of each. A picture of "
                "unknown origin belongs to none; take the run that it starts from."
            )
        self.digest = sha256_once(source.place / "model.safetensors")[:12]
        self.method: Method = restored[0][2]

    @property
    def rests_on(self) -> str:
        """What its scores rest on, in words: the weights, and what is done to a picture."""
        what = "checkpoint" if self.source.released is None else "released file"
        return f"{what} {self.digest}, {self.source.protocol}"

    def predict(self, images: Iterable[Path | str | bytes | Image.Image | Pixels]) -> Float[np.ndarray, " n"]:
        """p(fake) of pictures, in [0, 1], in their order.

        Args:
            images: Paths, the bytes of files, images of Pillow, or 8-bit RGB arrays (height, width, 3).

        Raises:
            UserError: a file is no usable picture, or an array has another shape.
            OSError: a file cannot be read at all.
        """
        crops = (self.prepared(pixels_of(image)) for image in images)
        parts = [self.scores(batch) for batch in batched(crops, BATCH)]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def prepared(self, pixels: Pixels, image_id: str = "") -> Pixels:
        """What the detector's method is given of a decoded picture."""
        return self._prepare(pixels, image_id)

    def scores(self, crops: Sequence[Pixels], batch_size: int = BATCH) -> Float[np.ndarray, " n"]:
        """p(fake) of prepared pictures.

        Raises:
            UserError: a score is not a number.
        """
        table = table_of(crops)
        scores = self.method.scores({"crops": table}, table.ids, batch_size)
        if not np.isfinite(scores).all():
            raise UserError(f"{self.source.name} gives scores that are not numbers; look at its log.csv.")
        return scores

    def warnings(self, height: int, width: int) -> Iterator[str]:
        """What of a picture's size lowers the trust in its score."""
        source, crops = self.source, self.source.crops
        short = min(shapes_before_crop([{"height": height, "width": width}], crops)[0])
        if crops["store"] == "center" and short < crops["size"]:
            yield f"smaller than the crop of {crops['size']} px: tiled"
        if source.sides and not source.sides[0] <= min(height, width) <= source.sides[1]:
            low, high = source.sides
            seen = f"{low}" if low == high else f"{low} to {high}"
            yield f"shorter side of {min(height, width)} px, in training {seen}"


def released_method(settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Method:
    """A published detector with the weights of its file, as the pipeline scores it: begun, then looked at by its view.

    Raises:
        UserError: the file is none of this detector.
    """
    kind = METHODS.load(settings["method"])
    begun = kind.begin(settings, Sample([], torch.zeros(0, dtype=torch.int64), {}), None, device)
    method = kind.restore({**settings, **begun.shape()}, view, device)
    method.model.load_state_dict(begun.model.state_dict())
    method.model.eval()
    return method


def load(checkpoint: str | Path, *, device: str = "auto") -> Predictor:
    """A trained detector from its checkpoint folder; pictures are seen through the centre crop of its training.

    Args:
        checkpoint: A folder that the stage `train` wrote.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        UserError: see `Predictor`.
    """
    return Predictor(source_of(Path(checkpoint)), device)


def source_of(folder: Path) -> Source:
    """What a checkpoint folder alone says of how pictures are looked at.

    Raises:
        UserError: it is no checkpoint.
    """
    recipe = read_recipe(folder)
    side = recipe.get("crop", 0)  # without one it is no detector on crops, which `Predictor` tells
    return Source(folder.name, folder, {"crop": side}, centre_crop(side))


def pixels_of(image: Path | str | bytes | Image.Image | Pixels) -> Pixels:
    """The pixels of a picture in any form that `Predictor.predict` takes; see there."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(f"an array must be uint8 of shape (height, width, 3), not {image.dtype} {image.shape}.")
        return image
    if isinstance(image, Image.Image):
        stream = io.BytesIO()  # so that alpha, palettes and 16 bits become RGB by the one rule
        (image.convert("RGB") if image.mode in NOT_IN_PNG else image).save(stream, "PNG")
        image = stream.getvalue()
    try:
        source = image if isinstance(image, bytes) else Path(image)
        return decode(source, min_side=MIN_SIDE, max_pixels=MAX_PIXELS).pixels
    except RefusedError as refused:
        raise UserError(f"{'the picture' if isinstance(image, bytes) else image}: {refused}") from None


def table_of(images: Sequence[Pixels]) -> PixelTable:
    """Pictures as a table of pixels; their ids are their numbers."""
    shapes = torch.tensor([image.shape[:2] for image in images], dtype=torch.int64)
    counts = shapes.prod(1)
    pixels = torch.from_numpy(np.concatenate([image.reshape(-1, 3) for image in images]))
    ids = tuple(str(number) for number in range(len(images)))
    return PixelTable(ids, pixels, counts.cumsum(0) - counts, shapes[:, 0], shapes[:, 1])


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items in lists of ``size``, the last of what is left."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
