"""Numbers printed in the papers, as printed.

``config/published/<paper>.csv`` holds every number of the papers' tables, and as artifact ``text`` what sentences say
of results: their ``note`` has the section and the words, their ``value`` is empty where they give no number. ``method``
is the label of the table's row, ``setting`` the group it stands in (a benchmark, a backbone, a heading; empty where
there is none), ``subset`` the test set or ``Avg``; ``value`` and ``std`` are percent (counts and hyper-parameters: as
the metric says), in the printed digits; ``note`` says where a column was renamed. A note that opens with "as printed"
marks a number that the paper itself contradicts.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tellsign.errors import UserError, near_miss


@dataclass(frozen=True)
class Quoted:
    """One printed number.

    Attributes:
        artifact: the table, such as ``table1``.
        method: label of its row.
        setting: group of its row or column; may be empty.
        subset: test set, or ``Avg`` for the mean over test sets.
        metric: ``accuracy`` or ``ap`` in percent; ``... drop`` and ``... gain`` in percentage points; ``negatives``
            in percent; ``images``, ``train images``, ``test images``, ``classes`` (counts); ``value`` (anything).
        value: the printed digits; empty only of a sentence without a number.
        std: the printed digits after ±, or empty.
        note: what a reader must know about this number.
    """

    artifact: str
    method: str
    setting: str
    subset: str
    metric: str
    value: str
    std: str
    note: str

    @property
    def number(self) -> float:
        """The value in percent, or whatever the metric counts; NaN of a sentence without a number."""
        return float(self.value.replace(",", "")) if self.value else math.nan

    @property
    def contradicted(self) -> bool:
        """The paper itself contradicts this number; the note says how."""
        return self.note.startswith("as printed")

    @property
    def spread(self) -> float:
        """The printed standard deviation in percent; NaN where none is printed."""
        return float(self.std) if self.std else math.nan


KEYS = ("artifact", "method", "setting", "subset", "metric")
"""What a number is looked up by, in this order."""

_COLUMNS = tuple(field.name for field in fields(Quoted))


def load(path: Path) -> list[Quoted]:
    """Read a paper's printed numbers.

    Raises:
        UserError: no such file, other columns, a value that is no number, or a number listed twice.
    """
    if not path.is_file():
        known = [other.name for other in path.parent.glob("*.csv")] if path.parent.is_dir() else []
        raise UserError(f"there are no printed numbers at {path}.{near_miss(path.name, known)}")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise UserError(f"{path}: got columns {reader.fieldnames}, expected {', '.join(_COLUMNS)}.")
        rows = []
        for record in reader:
            if None in record or None in record.values():
                raise UserError(f"{path}, line {reader.line_num}: expected {len(_COLUMNS)} cells.")
            rows.append(Quoted(**record))
    seen = set()
    for line, row in enumerate(rows, start=2):
        key = tuple(getattr(row, name) for name in KEYS)
        if key in seen:
            raise UserError(f"{path}, line {line}: {key} is listed twice.")
        seen.add(key)
        number = row.value or ("0" if row.artifact == "text" else "")
        for text in (number, row.std or "0"):
            try:
                float(text.replace(",", ""))
            except ValueError:
                raise UserError(f"{path}, line {line}: {text!r} is no number.") from None
    return rows


def lookup(rows: Sequence[Quoted], artifact: str, method: str, setting: str, subset: str, metric: str) -> Quoted:
    """Find one printed number.

    Raises:
        UserError: it is not there; the message names the first key that fits nothing and its near miss.
    """
    left: Sequence[Quoted] = rows
    for key, wanted in zip(KEYS, (artifact, method, setting, subset, metric), strict=True):
        known = list(dict.fromkeys(getattr(row, key) for row in left))
        left = [row for row in left if getattr(row, key) == wanted]
        if not left:
            listed = ", ".join(repr(name) for name in known)
            asked = " / ".join((artifact, method, setting, subset, metric))
            problem = f"no printed number {asked}: no {key} {wanted!r} there."
            raise UserError(f"{problem}{near_miss(wanted, known)} Known: {listed}.")
    return left[0]


def mean(rows: Sequence[Quoted], artifact: str, method: str, setting: str, metric: str) -> Quoted:
    """The plain mean of a row whose table prints none (Tables 1 and 2 of TIDY); its note says so.

    Raises:
        UserError: there is no such row.
    """
    printed = [q for q in rows if (q.artifact, q.metric) == (artifact, metric) and q.subset != "Avg"]
    in_row = [q for q in printed if (q.method, q.setting) == (method, setting)]
    if not in_row:
        asked = " / ".join((artifact, method, setting, metric))
        known = list(dict.fromkeys(q.method for q in printed))
        listed = ", ".join(known)
        raise UserError(f"no printed numbers {asked}.{near_miss(method, known)} Known methods: {listed}.")
    digits = max(len(q.value.partition(".")[2]) for q in in_row)
    value = f"{math.fsum(q.number for q in in_row) / len(in_row):.{digits}f}"
    note = f"not printed: the plain mean of the {len(in_row)} printed numbers"
    return Quoted(artifact, method, setting, "Avg", metric, value, "", note)
