"""Embed images, captions and objects in CLIP's space (TIDY Eq. 1, 3 and 4).

Reads   whole decoded images (crops, store: whole), their captions and boxes, where there are any, and the store:
        embeddings that were made before
Writes  a folder: features.safetensors (image, text, object_image, object_text, object_row), images.parquet (id)

A whole image is centre-cropped to CLIP's input, as TIDY's §4.1 says. For a box the paper says nothing: it is cut
out, its shorter side resized to CLIP's input (bicubic, anti-aliased) and centre-cropped, which is CLIP's own
preprocessing. Crops of all boxes of many images share batches. New embeddings are added to the store, --shard-size
of them at a time, so that a kill loses at most one shard and a split that grew costs what is new.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from tellsign.data.features import Features, captions_of
from tellsign.data.pixels import PixelTable
from tellsign.networks.determinism import pick_device
from tellsign.networks.embedding import Box, Embedder
from tellsign.system.files import folder_beside, write_text
from tellsign.system.parquet import read_rows
from tellsign.system.provenance import provenance

log = logging.getLogger(__name__)


def main(
    *,
    settings: dict[str, Any],
    crops: Path,
    store: Path,
    out: Path,
    caption: Path | None = None,
    ground: Path | None = None,
    device: str = "auto",
    batch_size: int = 64,
    shard_size: int = 4096,
) -> None:
    """Embed a split.

    Args:
        settings: clip (the recipe's), made (what the store's embeddings depend on).
        crops: whole images.
        store: the folder of embeddings made so far.
        out: the folder to write.
        caption: captions of the images.
        ground: boxes of the captions' phrases.
        device: auto, cpu, cuda, cuda:1.
        batch_size: crops or texts embedded together.
        shard_size: embeddings made between two writes.

    Raises:
        UserError: weights do not fit, a caption is missing, or a store that something else made.
    """
    table = PixelTable.open(crops)
    embedder = Embedder(settings, store, pick_device(device), batch_size, shard_size)
    image = embedder.images(table)
    captions = None if caption is None else captions_of(caption, table.ids)
    text = torch.zeros_like(image) if captions is None else embedder.texts(captions)
    objects: list[tuple[int, Box]] = []
    phrases: list[str] = []
    if ground is not None:
        boxes = read_rows(ground).to_pydict()
        of = {name: row for row, name in enumerate(table.ids)}
        for i, is_found in enumerate(boxes["found"]):
            if is_found:
                objects.append((of[boxes["id"][i]], tuple(boxes[k][i] for k in ("x0", "y0", "x1", "y1"))))
                phrases.append(boxes["phrase"][i])
    rows = torch.tensor([row for row, _ in objects], dtype=torch.int64)
    bare = len(table) - len(set(rows.tolist()))
    log.info("%d images, %d objects, %d images without an object", len(table), len(objects), bare)
    features = Features(table.ids, image, text, embedder.objects(table, objects), embedder.texts(phrases), rows)
    with folder_beside(out) as part:
        features.save(part)
        facts = {"images": len(table), "objects": len(objects), "images_without_object": bare}
        if captions is not None:
            facts["empty_captions"] = sum(not text for text in captions)
        write_text(part / "provenance.json", provenance(**facts))
