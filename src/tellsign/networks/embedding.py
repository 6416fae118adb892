"""CLIP's embeddings of images, texts and boxes, through a store of those made before (TIDY Eq. 1, 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tellsign.data.images import in_order
from tellsign.data.pixels import PixelTable
from tellsign.data.views import clip_view, cut
from tellsign.errors import UserError
from tellsign.networks.backbones.backbone import Clip
from tellsign.networks.backbones.loading import load_clip
from tellsign.system.devices import threads
from tellsign.system.parquet import column
from tellsign.system.store import Store

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
            image_boxes = [(table.image(row).permute(1, 2, 0).numpy(), box) for row, box in (objects[i] for i in chunk)]
            return torch.stack([clip_view(cut(image, box), self.side) for image, box in image_boxes])

        def batches(chunks: list[list[int]]) -> Any:
            return (embed_pixels(self.clip, pixels, self.batch_size) for pixels in in_order(views, chunks, threads()))

        keys = [f"{table.ids[row]} {' '.join(map(repr, box))}" for row, box in objects]
        return self._through("object", keys, batches)
