"""Find the objects that captions name (TIDY §3.2).

Reads   whole decoded images (crops, store: whole) and their captions
Writes  one Parquet file, a row a phrase: id, phrase, x0, y0, x1, y1 (pixels of the original image), score, found
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tellsign.grounders import load_grounder
from tellsign.pixels import PixelTable
from tellsign.runtime import pick_device, progress, read_rows, write_rows

log = logging.getLogger(__name__)


def main(
    *,
    settings: dict[str, Any],
    crops: Path,
    caption: Path,
    out: Path,
    device: str = "auto",
    batch_size: int = 64,
) -> None:
    """Ground every phrase of every caption."""
    target_device = pick_device(device)
    grounder = load_grounder(settings["grounder"]["name"], settings["grounder"]["weights"])
    if isinstance(grounder, nn.Module):
        grounder.to(target_device)
    table = PixelTable.open(crops)
    held = read_rows(caption)
    texts = dict(zip(held["id"].to_pylist(), held["caption"].to_pylist(), strict=True))
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "phrase", "x0", "y0", "x1", "y1", "score", "found")}
    batches = torch.arange(len(table)).split(batch_size)
    for rows in progress(batches, len(batches), "batches grounded"):
        images = [table.image(row).permute(1, 2, 0).numpy() for row in rows.tolist()]
        ids = [table.ids[row] for row in rows.tolist()]
        phrases = [grounder.phrases(texts[name]) for name in ids]
        results = grounder.ground(images, phrases, settings["threshold"])
        for name, wanted, boxes in zip(ids, phrases, results, strict=True):
            for phrase, box in zip(wanted, boxes, strict=True):
                for key, value in zip(columns, (name, phrase, *box), strict=True):
                    columns[key].append(value)
    log.info("%d phrases, %d found", len(columns["found"]), sum(columns["found"]))
    write_rows(out, columns)
