"""Embed images, captions and objects in CLIP's space (TIDY Eq. 1, 3 and 4).

Reads   whole decoded images (crops, store: whole), their captions and boxes, where there are any
Writes  a folder: features.safetensors (image, text, object_image, object_text, object_row), images.parquet (id)

A whole image is centre-cropped to CLIP's input, as TIDY's §4.1 says. For a box the paper says nothing: it is cut
out, its shorter side resized to CLIP's input (bicubic, anti-aliased) and centre-cropped, which is CLIP's own
preprocessing. Crops of all boxes of many images share batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from tellsign.backbones import Clip, load_clip
from tellsign.errors import UserError
from tellsign.features import Features
from tellsign.pixels import PixelTable
from tellsign.runtime import folder_beside, pick_device, progress, provenance, read_rows, write_text

log = logging.getLogger(__name__)


def clip_view(image: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[Tensor, "3 side side"]:
    """CLIP's own preprocessing of pixels: the shorter side becomes ``side``, then the centre is cut out."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    resized = np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
    return torch.from_numpy(resized[top : top + side, left : left + side].copy()).permute(2, 0, 1)


def cut(image: UInt8[np.ndarray, "h w 3"], box: tuple[float, ...]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The pixels of a box, at least one a side."""
    height, width = image.shape[:2]
    left, top = min(int(box[0]), width - 1), min(int(box[1]), height - 1)
    right, bottom = max(left + 1, round(box[2])), max(top + 1, round(box[3]))
    return np.ascontiguousarray(image[top:bottom, left:right])


@torch.inference_mode()
def embed_pixels(clip: Clip, batches: Iterator[UInt8[Tensor, "b 3 s s"]], device: torch.device) -> Float[Tensor, "n d"]:
    """Image embeddings of batches of crops."""
    parts = [clip.image(clip.image.preprocess(b.to(device))).float().cpu() for b in batches]
    return torch.cat(parts) if parts else torch.zeros(0, clip.image.dim)


@torch.inference_mode()
def embed_texts(clip: Clip, texts: list[str], batch_size: int) -> Float[Tensor, "n d"]:
    """Text embeddings; every distinct text is embedded once."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return torch.zeros(0, clip.image.dim)
    chunks = [distinct[i : i + batch_size] for i in range(0, len(distinct), batch_size)]
    vectors = torch.cat([clip.encode_text(chunk).float().cpu() for chunk in chunks])
    row = {text: i for i, text in enumerate(distinct)}
    return vectors[[row[text] for text in texts]]


def main(
    *,
    settings: dict[str, Any],
    crops: Path,
    out: Path,
    caption: Path | None = None,
    ground: Path | None = None,
    device: str = "auto",
    batch_size: int = 64,
) -> None:
    """Embed a split.

    Raises:
        UserError: weights do not fit, or a caption is missing.
    """
    target_device = pick_device(device)
    clip = load_clip(settings["clip"]["name"], settings["clip"]["weights"], 0).to(target_device).eval()
    side = clip.image.size
    if side is None:
        raise UserError(f"{settings['clip']['name']} has no fixed input size; it cannot embed boxes.")
    table = PixelTable.open(crops)
    batches = torch.arange(len(table)).split(batch_size)
    image = embed_pixels(
        clip,
        (table.center_crops(rows, side) for rows in progress(batches, len(batches), "batches embedded")),
        target_device,
    )
    text, objects, phrases = torch.zeros_like(image), [], []
    if caption is not None:
        held = read_rows(caption)
        texts = dict(zip(held["id"].to_pylist(), held["caption"].to_pylist(), strict=True))
        missing = [name for name in table.ids if name not in texts]
        if missing:
            raise UserError(f"{len(missing)} of {len(table)} images have no caption, the first is {missing[0]}.")
        text = embed_texts(clip, [texts[name] for name in table.ids], batch_size)
    if ground is not None:
        held = read_rows(ground).to_pydict()
        of = {name: row for row, name in enumerate(table.ids)}
        for i, found in enumerate(held["found"]):
            if found:
                objects.append((of[held["id"][i]], tuple(held[k][i] for k in ("x0", "y0", "x1", "y1"))))
                phrases.append(held["phrase"][i])
    view = viewer(table, side)
    chunks = [objects[i : i + batch_size] for i in range(0, len(objects), batch_size)]
    object_image = embed_pixels(clip, (torch.stack([view(*o) for o in chunk]) for chunk in chunks), target_device)
    rows = torch.tensor([row for row, _ in objects], dtype=torch.int64)
    bare = len(table) - len(set(rows.tolist()))
    log.info("%d images, %d objects, %d images without an object", len(table), len(objects), bare)
    features = Features(table.ids, image, text, object_image, embed_texts(clip, phrases, batch_size), rows)
    with folder_beside(out) as part:
        features.save(part)
        facts = {"images": len(table), "objects": len(objects), "images_without_object": bare}
        write_text(part / "provenance.json", provenance(**facts))


def viewer(table: PixelTable, side: int) -> Callable[[int, tuple[float, ...]], Tensor]:
    """A function from (row, box) to the view of that box."""

    def view(row: int, box: tuple[float, ...]) -> UInt8[Tensor, "3 side side"]:
        return clip_view(cut(table.image(row).permute(1, 2, 0).numpy(), box), side)

    return view
