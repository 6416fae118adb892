"""Caption images (TIDY §3.1).

Reads   whole decoded images (crops, store: whole)
Writes  one Parquet file: id, caption. Empty captions are kept as they are and counted in the log.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tellsign.captioners import load_captioner
from tellsign.pixels import PixelTable
from tellsign.runtime import pick_device, progress, write_rows

log = logging.getLogger(__name__)


def main(*, settings: dict[str, Any], crops: Path, out: Path, device: str = "auto", batch_size: int = 64) -> None:
    """Caption every image once."""
    target_device = pick_device(device)
    captioner = load_captioner(settings["captioner"]["name"], settings["captioner"]["weights"])
    if isinstance(captioner, nn.Module):
        captioner.to(target_device)
    table = PixelTable.open(crops)
    batches = torch.arange(len(table)).split(batch_size)
    captions: list[str] = []
    for rows in progress(batches, len(batches), "batches captioned"):
        captions += captioner.caption([table.image(row).permute(1, 2, 0).numpy() for row in rows.tolist()])
    empty = sum(not text for text in captions)
    log.info("%d captions, %d of them empty", len(captions), empty)
    write_rows(out, {"id": list(table.ids), "caption": captions})
