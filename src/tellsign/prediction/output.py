"""What was predicted, as a file. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellsign.errors import choose
from tellsign.system.files import write_text
from tellsign.system.parquet import write_rows

if TYPE_CHECKING:
    from tellsign.prediction.calibration import Calibration
    from tellsign.prediction.rows import Row


@dataclass(frozen=True)
class Answer:
    """What was predicted.

    Attributes:
        rows: The pictures.
        detectors: Name of each detector → its checkpoint's digest and its protocol.
        threshold: A greater score is called fake.
        banner: What a configuration wants said beside everything that it makes; empty for nothing.
        skipped: Reason → how many files in folders were passed over.
        calibration: Makes a probability of a score; None without one.
        sure: With a calibration: a picture is called neither where neither label is so probable; None calls each.
    """

    rows: Sequence[Row]
    detectors: Mapping[str, str]
    threshold: float
    banner: str
    skipped: Mapping[str, int]
    calibration: Calibration | None = None
    sure: float | None = None

    def verdict(self, row: Row) -> str:
        """``fake``, ``real`` or ``unsure``; empty where there is no score."""
        if row.problem:
            return ""
        probability = self.probability(row)
        if self.sure is not None and 1 - self.sure < probability < self.sure:
            return "unsure"
        return "fake" if (row.score > self.threshold if self.sure is None else probability > 0.5) else "real"

    def probability(self, row: Row) -> float:
        """Calibrated probability of fake; NaN where there is none."""
        return math.nan if row.problem or self.calibration is None else self.calibration.probability(row.score)

    def record(self, row: Row) -> dict[str, Any]:
        """A picture as plain data; scores that there are not are NaN."""
        scores = row.scores or (math.nan,) * len(self.detectors)
        record: dict[str, Any] = {"path": str(row.path), "problem": row.problem}
        record |= {"score": math.nan if row.problem else row.score, "verdict": self.verdict(row)}
        record |= {"probability": self.probability(row)} if self.calibration else {}
        record |= {f"score {name}": score for name, score in zip(self.detectors, scores, strict=True)}
        record |= {name: getattr(row, name) for name in ("sha256", "width", "height", "format", "quality")}
        record |= {"warnings": "; ".join(row.warnings), "metadata": "; ".join(row.metadata)}
        record |= {"threshold": self.threshold, "rests_on": "; ".join(f"{n}: {d}" for n, d in self.detectors.items())}
        return record | ({"banner": self.banner} if self.banner else {})


def without_nan(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose NaN are None."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()}


def write_csv(answer: Answer, path: Path) -> None:
    """A line for each picture."""
    records = [without_nan(answer.record(row)) for row in answer.rows]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, records[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_text(path, stream.getvalue())


def write_json(answer: Answer, path: Path) -> None:
    """An object with the pictures, and what was passed over."""
    records = [without_nan(answer.record(row)) for row in answer.rows]
    whole = {"pictures": records, "passed_over": dict(answer.skipped)}
    write_text(path, json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(answer: Answer, path: Path) -> None:
    """A row for each picture; scores that there are not are NaN."""
    records = [answer.record(row) for row in answer.rows]
    columns: dict[str, Any] = {name: [record[name] for record in records] for name in records[0]}
    for name, values in columns.items():
        if isinstance(values[0], float):
            columns[name] = np.array(values, np.float64)
    write_rows(path, columns)


WRITERS: dict[str, Callable[[Answer, Path], None]] = {
    ".csv": write_csv,
    ".json": write_json,
    ".parquet": write_parquet,
}
"""By the suffix of the file."""


def writer_for(path: Path) -> Callable[[Answer, Path], None]:
    """What writes a file of this name.

    Raises:
        UserError: its suffix stands for no format.
    """
    return choose(WRITERS, path.suffix.lower(), "suffix of --out")
