"""Rows of a long question that outlive it: `predict --out`, killed and asked again, goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tellsign import __version__
from tellsign.prediction.predictor import BATCH, Predictor, batched
from tellsign.prediction.rows import Row, rows_of

TUPLES = ("scores", "warnings", "metadata")


def place_beside(out: Path) -> Path:
    """Where the rows of an unfinished answer wait."""
    return out.with_name(f".{out.name}.rows")


def kept_rows(files: Sequence[Path], predictors: Sequence[Predictor], place: Path) -> Iterator[Row]:
    """The rows of files, as `tellsign.prediction.rows.rows_of` gives them; whoever has them all removes ``place``.

    Each batch of rows is appended to ``place`` when it is whole. The batches at the beginning that lie there already
    are taken from there, if the detectors are the same and the files too, by name, size and time: as whole batches, so
    that an answer has the same bytes whether or not it was interrupted.
    """
    head = {"tellsign": __version__, "detectors": {one.source.name: one.rests_on for one in predictors}}
    done, end = 0, 0
    for stored, end_of_line in lines_of(place):
        if end == 0:
            if stored != head:
                break
        else:
            batch = files[done : done + BATCH]
            if stored.get("files") != facts_of(batch):
                break
            yield from map(row_from, stored["rows"])
            done += len(batch)
        end = end_of_line
    left = files[done:]
    with place.open("ab") as stream:
        stream.truncate(end)
        if end == 0:
            append(stream, head)
        for batch, rows in zip(batched(left, BATCH), batched(rows_of(left, predictors), BATCH), strict=True):
            append(stream, {"files": facts_of(batch), "rows": [asdict(row) | {"path": str(row.path)} for row in rows]})
            yield from rows


def lines_of(place: Path) -> Iterator[tuple[Any, int]]:
    """What the whole lines of a file hold, each with where it ends; a line that a kill cut off ends it."""
    if not place.exists():
        return
    with place.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            yield json.loads(line), stream.tell()


def append(stream: Any, value: Any) -> None:
    """Write a line, and hand it to the system."""
    stream.write(json.dumps(value).encode() + b"\n")
    stream.flush()


def facts_of(files: Sequence[Path]) -> list[list[Any]]:
    """Name, size and time of files; of one that cannot be asked the name alone."""
    facts: list[list[Any]] = []
    for path in files:
        try:
            known = path.stat()
            facts.append([str(path), known.st_size, known.st_mtime_ns])
        except OSError:
            facts.append([str(path)])
    return facts


def row_from(stored: dict[str, Any]) -> Row:
    """A row from what was written of it."""
    changed: dict[str, Any] = {"path": Path(stored["path"])} | {name: tuple(stored[name]) for name in TUPLES}
    return Row(**(stored | changed))
