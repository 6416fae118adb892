"""Whether disks have room for what is still to be written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tellsign.commands.amounts import Amount, disk


def full_disks(needs: Mapping[Path, Mapping[str, Amount]]) -> list[str]:
    """A line for each disk that has less room than is needed.

    Args:
        needs: Folder → what will be written below it, by the name of the folder there; neither need exist yet.
    """
    disks: dict[int, tuple[list[str], Amount, int]] = {}
    for folder, amounts in needs.items():
        for name, needed in amounts.items():
            place = folder / name
            there = next(above for above in (place, *place.absolute().parents) if above.is_dir())
            device = there.stat().st_dev
            names, before, _ = disks.get(device, ([], Amount(), 0))
            disks[device] = ([*names, f"{place}/"], before + needed, shutil.disk_usage(there).free)
    return [
        f"The disk is too small: {' and '.join(names)} will take {disk(needed)} more, and {disk(Amount(free))} are "
        "free. Make room, or put these folders (or links to them) on a larger disk."
        for names, needed, free in disks.values()
        if needed.value > free
    ]
