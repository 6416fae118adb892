"""What layouts share: an image file with what its place says of it, and names of folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REAL, FAKE = 0, 1
LABEL_FOLDERS = {"0_real": REAL, "1_fake": FAKE}
PART_FOLDERS = ("train", "test")
PARTS = ("pretrain", "train", "val", "test")
"""From the first that may be looked at to the last: a part's images may not appear in any part before it."""

Roots = Mapping[str, Mapping[str, int]]
"""Key of a root → folder below it (posix; empty for the root itself) that holds images → how many."""

Settings = Mapping[str, Any]
"""A benchmark's settings as plain data; see `tellsign.schema.data.Benchmark`."""


@dataclass(frozen=True, order=True)
class Placed:
    """A folder of images, or one image, as one subset has it.

    Attributes:
        subset: One generator with the real images paired to it.
        part: One of `PARTS`; empty where it follows from the image (`tellsign.data.benchmarks.part_of`).
        label: 0 real, 1 fake.
        generator: What made it; ``real`` for photographs.
        root: Key of the root folder.
        path: Of the folder or image: posix, relative to that root.
        category: Folder of the class of what is shown, in benchmarks that have such; else empty.
    """

    subset: str
    part: str
    label: int
    generator: str
    root: str
    path: str
    category: str = ""


@dataclass(frozen=True)
class Layout:
    """How a benchmark's folders are read.

    Attributes:
        read: Says of which subset, part and label the images of each folder are, and counts images without a meaning
            by reason. A folder that several subsets share is placed once for each.
        tree: The tree that an error message shows.
    """

    read: Callable[[Roots, Settings, Counter[str]], list[Placed]]
    tree: str

    def __call__(self, roots: Roots, settings: Settings, skipped: Counter[str]) -> list[Placed]:
        """Place the folders below the roots."""
        return self.read(roots, settings, skipped)


def subsets_by_folder(folders: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Folder name in lower case → the subsets that the setting ``folders`` gives it."""
    subsets: dict[str, list[str]] = {}
    for subset, names in folders.items():
        for folder in names:
            subsets.setdefault(folder.lower(), []).append(subset)
    return subsets
