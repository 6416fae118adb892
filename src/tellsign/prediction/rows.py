"""What is said of each picture: its scores, and what lowers the trust in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tellsign.data.images import MAX_PIXELS, MIN_SIDE, RefusedError, decode, in_order
from tellsign.data.kinds import RAW, kind_of_bytes, kind_of_suffix
from tellsign.prediction.evidence import metadata_of
from tellsign.prediction.predictor import BATCH, Predictor, batched
from tellsign.system.devices import threads

Pixels = UInt8[np.ndarray, "h w 3"]

HEAVY = 70
"""JPEGs of a lower estimated quality carry a warning."""


@dataclass(frozen=True)
class Row:
    """What is said of one picture.

    Attributes:
        path: The file.
        problem: Why it has no score; empty where it has.
        scores: p(fake) by each detector.
        sha256: Of the file's bytes.
        width, height: In pixels, after EXIF rotation.
        format: As Pillow calls it.
        quality: Estimated quality of a JPEG, 1 to 100; -1 for others.
        warnings: What lowers the trust in the scores, and what decoding changed.
        metadata: What the file says of its maker; no score depends on it.
    """

    path: Path
    problem: str = ""
    scores: tuple[float, ...] = ()
    sha256: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    quality: int = -1
    warnings: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """Mean p(fake) of the detectors."""
        return float(np.mean(self.scores))


@dataclass(frozen=True)
class Looked:
    """A picture that was read: its facts, and what each protocol makes of it, by the protocol's settings."""

    row: Row
    crops: Mapping[str, Pixels]


def rows_of(files: Sequence[Path], predictors: Sequence[Predictor]) -> Iterator[Row]:
    """A row for every file, in their order; of pixels only a batch is held at a time."""
    looked = in_order(lambda path: look_at(path, predictors), files, threads())
    for batch in batched(looked, BATCH):
        yield from scored(batch, predictors)


def scored(batch: Sequence[Looked], predictors: Sequence[Predictor]) -> Iterator[Row]:
    """The rows of pictures that were read, with their scores."""
    good = [one for one in batch if not one.row.problem]
    scores = [p.scores([one.crops[key_of(p)] for one in good]).tolist() if good else [] for p in predictors]
    by_picture = zip(*scores, strict=True)
    for one in batch:
        yield one.row if one.row.problem else replace(one.row, scores=next(by_picture))


def key_of(predictor: Predictor) -> str:
    """Equal for detectors that are shown the same pixels."""
    return repr(sorted(predictor.source.crops.items()))


def look_at(path: Path, predictors: Sequence[Predictor]) -> Looked:
    """Read and decode one file; one that cannot be used has its reason in the row."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Looked(Row(path, "there is no such file"), {})
    except OSError as problem:
        return Looked(Row(path, problem.strerror or str(problem)), {})
    return looked_at(path, data, predictors)


def looked_at(path: Path, data: bytes, predictors: Sequence[Predictor]) -> Looked:
    """Decode the bytes of a file; of its path only the suffix is asked."""
    if kind_of_suffix(path.name) == RAW:  # Pillow would take the thumbnail in it for the picture
        return Looked(Row(path, RAW), {})
    try:
        decoded = decode(data, min_side=MIN_SIDE, max_pixels=MAX_PIXELS)
    except RefusedError as refused:
        kind = kind_of_bytes(data[:32]) or kind_of_suffix(path.name)
        return Looked(Row(path, f"{refused.status}: {kind or refused.reason}"), {})
    height, width = decoded.pixels.shape[:2]
    said = [decoded.notes] if decoded.notes else []
    if 0 < decoded.header.quality < HEAVY:
        said.append(f"JPEG of quality about {decoded.header.quality}")
    said += [warning for predictor in predictors for warning in predictor.warnings(height, width)]
    digest, crops = hashlib.sha256(data).hexdigest(), {}
    for predictor in predictors:
        if (key := key_of(predictor)) not in crops:
            crops[key] = predictor.prepared(decoded.pixels, digest)
    row = Row(
        path,
        sha256=digest,
        width=width,
        height=height,
        format=decoded.header.format,
        quality=decoded.header.quality,
        warnings=tuple(dict.fromkeys(said)),
        metadata=metadata_of(data),
    )
    return Looked(row, crops)
