"""Caption images (TIDY §3.1).

Reads   whole decoded images (crops, store: whole), and the store: captions that were made before
Writes  one Parquet file: id, caption. Empty captions are kept as they are and counted in the log.

New captions are added to the store, --shard-size of them at a time. So after a kill the same command goes on from the
last whole shard, and a split that grew by 100 images costs 100 captions. A store that belongs to another captioner,
other weights or another decoding is refused.

With --part 2/8, eight jobs share the work: each captions its own images and writes only their captions. Once all have
filled the store, the same command without --part has nothing left to caption.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tellsign.data.pixels import PixelTable
from tellsign.networks.captioners.captioner import load_captioner
from tellsign.networks.determinism import pick_device
from tellsign.system.parquet import write_rows
from tellsign.system.store import Store, rows_of_part

log = logging.getLogger(__name__)


def main(
    *,
    settings: dict[str, Any],
    crops: Path,
    store: Path,
    out: Path,
    device: str = "auto",
    batch_size: int = 32,
    shard_size: int = 256,
    part: str = "1/1",
) -> None:
    """Caption every image once.

    Args:
        settings: captioner (the recipe's), made (what the store's captions depend on).
        crops: whole images.
        store: the folder of captions made so far.
        out: the file to write.
        device: auto, cpu, cuda, cuda:1.
        batch_size: images captioned together.
        shard_size: captions made between two writes.
        part: which of several jobs this is.

    Raises:
        UserError: missing or unfit weights, a store that something else made, or a part that is none.
    """
    target_device = pick_device(device)
    shards = Store.open(store, ("id",), settings["made"])
    table = PixelTable.open(crops)
    mine = rows_of_part(len(table.ids), part, shard_size)
    ids = [table.ids[row] for row in mine]
    captioner = None

    def make(places: list[int]) -> dict[str, list[str]]:
        nonlocal captioner
        if captioner is None:  # nothing to do, no gigabytes to load
            captioner = load_captioner(settings["captioner"], batch_size)
            captioner.to(target_device)
        images = [table.image(mine[place]).permute(1, 2, 0).numpy() for place in places]
        return {"id": [ids[place] for place in places], "caption": captioner.caption(images)}

    rows = shards.complete([(name,) for name in ids], make, shard_size, "captions")
    texts = {} if rows is None else dict(zip(rows["id"].to_pylist(), rows["caption"].to_pylist(), strict=True))
    captions = [texts[name] for name in ids]
    log.info("%d captions, %d of them empty", len(captions), sum(not text for text in captions))
    write_rows(out, {"id": ids, "caption": captions})
