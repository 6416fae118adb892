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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tellsign.backbones import Clip, load_clip
from tellsign.errors import UserError
from tellsign.features import Features, captions_of
from tellsign.images import in_order
from tellsign.pixels import PixelTable
from tellsign.runtime import column, folder_beside, pick_device, provenance, read_rows, threads, write_text
from tellsign.store import Store
from tellsign.views import clip_view, cut

log = logging.getLogger(__name__)

Box = tuple[float, ...]


@torch.inference_mode()
def embed_pixels(clip: Clip, pixels: UInt8[Tensor, "b 3 s s"], batch_size: int) -> Float[Tensor, "b d"]:
    """Image embeddings of at most ``batch_size`` crops.

    A smaller batch is filled up: a product of matrices may round differently at another size, and an embedding must
    not depend on how many others were still to be made.
    """
    full = torch.cat([pixels, pixels[-1:].expand(batch_size - len(pixels), -1, -1, -1)])
    device = next(clip.parameters()).device
    return clip.image(clip.image.preprocess(full.to(device, non_blocking=True)))[: len(pixels)].float().cpu()


@torch.inference_mode()
def embed_texts(clip: Clip, texts: list[str], batch_size: int) -> Float[Tensor, "b d"]:
    """Text embeddings of at most ``batch_size`` texts, filled up as in `embed_pixels`."""
    full = texts + texts[-1:] * (batch_size - len(texts))
    return clip.encode_text(full)[: len(texts)].float().cpu()


class Embedder:
    """CLIP's embeddings of a split, through a store of those made before.

    Args:
        settings: clip, made.
        store: The store's folder.
        device: Where CLIP runs.
        batch_size, shard_size: Crops or texts that go through CLIP together, and between two writes.
    """

    def __init__(
        self, settings: dict[str, Any], store: Path, device: torch.device, batch_size: int, shard_size: int
    ) -> None:
        self.store = Store.open(store, ("kind", "key"), settings["made"])
        self.clip = load_clip(settings["clip"]["name"], settings["clip"]["weights"], 0).to(device).eval()
        side = self.clip.image.size
        if side is None:
            raise UserError(f"{settings['clip']['name']} has no fixed input size; it cannot embed boxes.")
        self.side: int = side
        self.batch_size, self.shard_size = batch_size, shard_size

    def _through(self, kind: str, keys: Sequence[str], batches: Any) -> Float[Tensor, "n d"]:
        """Embeddings by key; ``batches`` turns positions into embeddings of each batch, in order."""
        import pyarrow as pa

        def make(rows: list[int]) -> dict[str, Any]:
            chunks = [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
            vectors = torch.cat(list(batches(chunks))).contiguous().numpy()
            flat = pa.FixedSizeListArray.from_arrays(column(vectors.reshape(-1)), vectors.shape[1])
            return {"kind": [kind] * len(rows), "key": [keys[row] for row in rows], "vector": flat}

        rows = self.store.complete([(kind, key) for key in keys], make, self.shard_size, f"{kind} embeddings")
        if rows is None or not keys:
            return torch.zeros(0, self.clip.image.dim)
        of = {key: i for i, key in enumerate(self.store.keys_of(rows))}
        vectors = rows["vector"].combine_chunks()
        table = np.asarray(vectors.flatten()).reshape(len(vectors), -1)
        return torch.from_numpy(table[[of[kind, key] for key in keys]])

    def images(self, table: PixelTable) -> Float[Tensor, "n d"]:
        """I_0 of every image."""

        def batches(chunks: list[list[int]]) -> Any:
            crops = in_order(lambda rows: table.center_crops(torch.tensor(rows), self.side), chunks, threads())
            return (embed_pixels(self.clip, pixels, self.batch_size) for pixels in crops)

        return self._through("image", table.ids, batches)

    def texts(self, texts: list[str]) -> Float[Tensor, "n d"]:
        """T of every text; each distinct one is embedded once."""

        def batches(chunks: list[list[int]]) -> Any:
            return (embed_texts(self.clip, [texts[i] for i in chunk], self.batch_size) for chunk in chunks)

        return self._through("text", texts, batches)

    def objects(self, table: PixelTable, objects: list[tuple[int, Box]]) -> Float[Tensor, "m d"]:
        """I_i of every box, given by image row and corners: boxes of all images share batches."""

        def views(chunk: list[int]) -> UInt8[Tensor, "b 3 s s"]:
            held = [(table.image(row).permute(1, 2, 0).numpy(), box) for row, box in (objects[i] for i in chunk)]
            return torch.stack([clip_view(cut(image, box), self.side) for image, box in held])

        def batches(chunks: list[list[int]]) -> Any:
            return (embed_pixels(self.clip, pixels, self.batch_size) for pixels in in_order(views, chunks, threads()))

        keys = [f"{table.ids[row]} {' '.join(map(repr, box))}" for row, box in objects]
        return self._through("object", keys, batches)


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
        held = read_rows(ground).to_pydict()
        of = {name: row for row, name in enumerate(table.ids)}
        for i, found in enumerate(held["found"]):
            if found:
                objects.append((of[held["id"][i]], tuple(held[k][i] for k in ("x0", "y0", "x1", "y1"))))
                phrases.append(held["phrase"][i])
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
