"""Find the objects that captions name (TIDY §3.2).

Reads   whole decoded images (crops, store: whole), their captions, and the store: boxes that were found before
Writes  one Parquet file, a row a phrase: id, phrase, x0, y0, x1, y1 (pixels of the original image), score, found

New boxes are added to the store, --shard-size images at a time. So after a kill the same command goes on from the
last whole shard, and only new images and captions cost anything. The store holds every phrase's best box, whatever
its score; the threshold is applied when boxes are read from it. A store that belongs to another grounder or other
weights is refused.

With --part 2/8, eight jobs share the work: each grounds its own images and writes only their boxes. Once all have
filled the store, the same command without --part has nothing left to ground.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tellsign.data.features import captions_of
from tellsign.data.pixels import PixelTable
from tellsign.networks.determinism import pick_device
from tellsign.networks.grounders.grounder import load_grounder
from tellsign.system.parquet import write_rows
from tellsign.system.store import Store, rows_of_part

log = logging.getLogger(__name__)

BOX = ("x0", "y0", "x1", "y1", "score")


def main(
    *,
    settings: dict[str, Any],
    crops: Path,
    caption: Path,
    store: Path,
    out: Path,
    device: str = "auto",
    batch_size: int = 16,
    shard_size: int = 256,
    part: str = "1/1",
) -> None:
    """Ground every phrase of every caption.

    Args:
        settings: grounder (the recipe's), threshold, made (what the store's boxes depend on).
        crops: whole images.
        caption: their captions.
        store: the folder of boxes found so far.
        out: the file to write.
        device: auto, cpu, cuda, cuda:1.
        batch_size: images grounded together.
        shard_size: images between two writes.
        part: which of several jobs this is.

    Raises:
        UserError: missing or unfit weights, a missing caption, a store that something else made, or a part that is
            none.
    """
    target_device = pick_device(device)
    shards = Store.open(store, ("id", "caption"), settings["made"])
    table = PixelTable.open(crops)
    mine = rows_of_part(len(table.ids), part, shard_size)
    all_captions = captions_of(caption, table.ids)
    keys = [(table.ids[row], all_captions[row]) for row in mine]
    grounder = None

    def make(places: list[int]) -> dict[str, list[Any]]:
        nonlocal grounder
        if grounder is None:
            grounder = load_grounder(settings["grounder"], batch_size)
            grounder.to(target_device)
        images = [table.image(mine[place]).permute(1, 2, 0).numpy() for place in places]
        texts = [keys[place][1] for place in places]
        phrases = [grounder.phrases(text) for text in texts]
        columns: dict[str, list[Any]] = {name: [] for name in ("id", "caption", "phrase", *BOX)}
        for place, wanted, boxes in zip(places, phrases, grounder.ground(images, texts, phrases), strict=True):
            # an image without phrases has one row, of an empty phrase: it is known to have none
            for phrase, box in zip(wanted or [""], boxes or [(0.0,) * len(BOX)], strict=True):
                for key, value in zip(columns, (*keys[place], phrase, *box), strict=True):
                    columns[key].append(value)
        return columns

    rows = shards.complete(keys, make, shard_size, "images grounded")
    names = ("id", "phrase", *BOX)
    columns: dict[str, list[Any]] = {name: [] for name in (*names, "found")}
    of: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    if rows is not None:
        for key, *row in zip(shards.keys_of(rows), *(rows[name].to_pylist() for name in names), strict=True):
            of.setdefault(key, []).append(tuple(row))
    for key in keys:
        for row in of[key]:
            if row[1]:
                score = row[-1]
                for name, value in zip(columns, (*row, score > 0 and score >= settings["threshold"]), strict=True):
                    columns[name].append(value)
    log.info("%d phrases, %d found", len(columns["found"]), sum(columns["found"]))
    write_rows(out, columns)
