"""Compare the numbers of two folders of tables, as after a change that must move none.

Every ``table.csv`` of one folder must stand in the other with the same text, but for the columns that say which code
and settings made a number: their digests change with the code. Columns that only one folder has are named and not
compared. Prints one line a table; exits 1 where any differs.

    python benchmarks/compare_tables.py BEFORE AFTER
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from pathlib import Path

DIGESTS = ("recipe", "code", "data")


def numbers(path: Path) -> list[dict[str, str]]:
    """Rows of a table without the digests."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{k: v for k, v in row.items() if k not in DIGESTS} for row in csv.DictReader(stream)]


def tables(folder: Path) -> dict[str, Path]:
    """Every ``table.csv`` below a folder by ``paper/table``."""
    paths = [Path(root) / "table.csv" for root, _, files in os.walk(folder, followlinks=True) if "table.csv" in files]
    return {"/".join(path.parts[-3:-1]): path for path in sorted(paths)}


def differences(before: Path, after: Path) -> list[str]:
    """What differs between two tables, a line each; empty where nothing does."""
    one, other = numbers(before), numbers(after)
    if len(one) != len(other):
        return [f"{len(one)} rows before, {len(other)} after"]
    return [
        f"row {number}, {key}: {old[key]!r} before, {new[key]!r} after"
        for number, (old, new) in enumerate(zip(one, other, strict=True), 2)
        for key in old
        if key in new and old[key] != new[key]
    ]


def columns_of_one(before: dict[str, Path], after: dict[str, Path]) -> list[str]:
    """Columns that the tables of only one folder have."""
    sides = [
        {key for path in folder.values() for row in numbers(path)[:1] for key in row} for folder in (before, after)
    ]
    return sorted(sides[0] ^ sides[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a folder of results")
    parser.add_argument("after", type=Path, help="another one")
    asked = parser.parse_args()
    before, after = tables(asked.before), tables(asked.after)
    faults = 0
    for name in sorted(before | after):
        if name not in before or name not in after:
            differing = [f"only in {asked.before if name in before else asked.after}"]
        else:
            differing = differences(before[name], after[name])
        faults += bool(differing)
        print(f"{name}: {'; '.join(differing[:5]) if differing else f'the same {len(numbers(before[name]))} numbers'}")
    if columns := columns_of_one(before, after):
        print(f"not compared, because only one folder has them: {', '.join(columns)}")
    print(f"{len(before | after)} tables, {faults} differ")
    return 1 if faults or not before else 0


if __name__ == "__main__":
    sys.exit(main())
