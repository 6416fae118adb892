"""Lists of files that cannot be used, beside what was made without them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tellsign.system.files import file_beside

COLUMNS: tuple[str, ...] = ("status", "root", "path", "reason", "bytes", "width", "height", "format", "mode", "id")


def report_bad(bad: Sequence[Mapping[str, Any]], report: Path) -> None:
    """Write the list of unusable files, or remove an earlier one when there are none."""
    if not bad:
        report.unlink(missing_ok=True)
        return
    with file_beside(report) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(bad)
