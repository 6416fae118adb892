"""How much of the fault suite is run: a little in continuous integration, all of it by ``make faults``."""

from __future__ import annotations

import json
import os
from pathlib import Path

FULL = os.environ.get("TELLSIGN_FAULTS") == "full"


def scaled(little: int, all_of_it: int) -> int:
    """A count at the scale that is asked for."""
    return all_of_it if FULL else little


def record(name: str, **counts: object) -> None:
    """Add what was counted to the file that ``TELLSIGN_FAULTS_REPORT`` names, a line of JSON; docs/reliability.md."""
    if place := os.environ.get("TELLSIGN_FAULTS_REPORT"):
        with Path(place).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"test": name, **counts}) + "\n")
