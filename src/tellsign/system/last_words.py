"""What failed jobs said last, for the end of a run: among hundreds of lines nobody finds it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

ERROR = re.compile(r"^\d\d:\d\d:\d\d (?:ERROR|CRITICAL) ", re.MULTILINE)
"""Where a line of the log of `tellsign.system.progress.log_to_stderr` begins that tells an error."""

LINES = 20
"""So much is repeated of one job; its log has all of it."""


def last_words(text: str) -> str:
    """The last error that a log tells, or else its last line, such as what the system said of a job that was killed."""
    starts = [found.end() for found in ERROR.finditer(text)]
    said = text[starts[-1] :].strip() if starts else (text.strip().splitlines() or [""])[-1].strip()
    lines = said.splitlines()
    return "\n".join([*lines[:LINES], *(["…"] if len(lines) > LINES else [])])


def failures(jobs: Iterable[tuple[str, Path | None]]) -> str:
    """What failed jobs said last, each with its log's place.

    Args:
        jobs: What a job is called, and its log if it has one.
    """
    told = []
    for name, log in jobs:
        there = log is not None and log.exists()
        said = last_words(log.read_text(encoding="utf-8", errors="replace")) if log and there else ""
        said = said.removeprefix(f"{name.split()[0]}: ")  # stages begin with their own name
        where = f"  log: {log}" if there else "  it left no log; see above"
        told.append("\n".join([f"{name}: {said or 'it said nothing'}", where]))
    count = f"{len(told)} jobs" if len(told) != 1 else "1 job"
    return "\n".join([f"{count} failed:", "", "\n\n".join(told)])
