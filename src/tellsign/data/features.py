"""TIDY's annotations of one split: captions, and the embeddings of images, captions and objects in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors.torch import load_file, save_file
from torch import Tensor

from tellsign.errors import UserError
from tellsign.system.parquet import read_rows, write_rows


def captions_of(caption: Path, ids: Sequence[str]) -> list[str]:
    """The caption of each image.

    Raises:
        UserError: an image has none.
    """
    rows = read_rows(caption)
    texts = dict(zip(rows["id"].to_pylist(), rows["caption"].to_pylist(), strict=True))
    missing = [name for name in ids if name not in texts]
    if missing:
        raise UserError(f"{len(missing)} of {len(ids)} images have no caption, the first is {missing[0]}.")
    return [texts[name] for name in ids]


@dataclass(frozen=True)
class Features:
    """Embeddings, not normalised.

    Attributes:
        ids: Image ids, one a row.
        image: I_0 of each image.
        text: T_0 of its caption; zeros when there are no captions.
        object_image: I_i of every found object of every image.
        object_text: T_i of its phrase.
        object_row: Row of the image that each object lies in.
    """

    ids: tuple[str, ...]
    image: Float[Tensor, "n d"]
    text: Float[Tensor, "n d"]
    object_image: Float[Tensor, "m d"]
    object_text: Float[Tensor, "m d"]
    object_row: Int64[Tensor, " m"]

    def save(self, folder: Path) -> None:
        """Write the features into a folder that exists."""
        names = ("image", "text", "object_image", "object_text", "object_row")
        save_file({name: getattr(self, name).contiguous() for name in names}, folder / "features.safetensors")
        write_rows(folder / "images.parquet", {"id": list(self.ids)})

    @classmethod
    def load(cls, folder: Path) -> Features:
        """Read the features of a folder that the embed stage wrote."""
        tensors = load_file(folder / "features.safetensors")
        return cls(ids=tuple(read_rows(folder / "images.parquet")["id"].to_pylist()), **tensors)

    def rows_of(self, ids: Sequence[str]) -> Int64[Tensor, " k"]:
        """Row numbers of image ids.

        Raises:
            UserError: an id has no features.
        """
        row = {name: i for i, name in enumerate(self.ids)}
        missing = [name for name in ids if name not in row]
        if missing:
            raise UserError(f"{len(missing)} of {len(ids)} images have no features, the first is {missing[0]}.")
        return torch.tensor([row[name] for name in ids], dtype=torch.int64)
