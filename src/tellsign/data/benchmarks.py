"""The images of a benchmark: which files are images of which subset, part and label."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tellsign.data.inventory import image_folders, images_in
from tellsign.data.layouts import LAYOUTS
from tellsign.data.layouts.base import PARTS, Layout, Placed, Roots
from tellsign.errors import UserError, near_miss

__all__ = ["PARTS", "PASSED_OVER", "Listing", "Placed", "list_images", "part_of", "placed_folders"]

PASSED_OVER = "passed over"
"""The note of an index that says, as JSON, how many files had no meaning for its layout, by reason."""


@dataclass(frozen=True)
class Listing:
    """The images of a benchmark in a fixed order, and how many other files were passed over, by reason."""

    files: list[Placed]
    skipped: dict[str, int] = field(default_factory=dict)


def part_of(image_id: str, seed: int, test_fraction: float) -> str:
    """Put an image in ``test`` or ``train`` by a keyed hash of its id, for benchmarks that name no parts.

    One image is in one part wherever it appears, whatever else the folder holds.

    Args:
        image_id: sha256 of the file's bytes.
        seed: equal seeds give equal parts.
        test_fraction: share of images that go to ``test``, in [0, 1]; met on average.
    """
    draw = int.from_bytes(hashlib.sha256(f"part {seed} {image_id}".encode()).digest()[:8]) / 2**64
    return "test" if draw < test_fraction else "train"


def list_images(roots: Mapping[str, Path], settings: Mapping[str, Any]) -> Listing:
    """List a benchmark's images, ordered by subset, part, label, root and path.

    Names of label and part folders and suffixes are matched whatever their case. Hidden files, ``__MACOSX``,
    unknown suffixes and files at a place where the layout has no meaning for them are counted in ``skipped``.

    Args:
        roots: key → folder.
        settings: ``layout`` (a name in `LAYOUTS`), ``subsets`` to keep (empty: all), ``exclude``
            (names of folders directly under a root that hold something else). Layouts of named sets read three
            more: ``folders`` (subset → names of its folders), ``reals`` (subset → folders of the reals it is
            paired with; `ufd` and `dire`) and ``parts`` (folder → part; `genimage`).

    Raises:
        UserError: unknown layout, missing root, no image found, or a subset that is not there.
    """
    layout: Layout = LAYOUTS.load(settings["layout"])
    expected = f"Layout {settings['layout']!r} expects\n{layout.tree}"
    for key, root in roots.items():
        if not root.is_dir():
            raise UserError(f"root {key!r}: there is no folder {root}. {expected}\nGive the right path for {key!r}.")
    skipped: Counter[str] = Counter()
    held = {key: image_folders(root, skipped, settings["exclude"]) for key, root in roots.items()}
    folders = layout(held, settings, skipped)
    where = ", ".join(f"{key}={root}" for key, root in roots.items()) or "no root at all"
    passed = "; ".join(f"{count} × {why}" for why, count in sorted(skipped.items())) or "nothing"
    if not folders:
        raise UserError(
            f"no image found in {where}. {expected}\nPassed over: {passed}.\n"
            "Point the root at the folder above the subsets, or choose another layout."
        )
    wanted = list(settings["subsets"])
    if wanted:
        known = sorted({folder.subset for folder in folders})
        for name in wanted:
            if name not in known:
                raise UserError(
                    f"subset {name!r} is not in {where}.{near_miss(name, known)} Found: {', '.join(known)}. {expected}"
                )
        folders = [folder for folder in folders if folder.subset in wanted]
    paths = {(f.root, f.path): images_in(roots[f.root], f.path) for f in folders}
    files = [replace(folder, path=path) for folder in folders for path in paths[folder.root, folder.path]]
    return Listing(sorted(files), dict(sorted(skipped.items())))


def placed_folders(held: Roots, settings: Mapping[str, Any]) -> list[Placed]:
    """Of which subset, part and label the images of each folder are; folders without a meaning are left out.

    Args:
        held: Root key → folder → number of images.
        settings: As for :func:`list_images`; ``subsets`` to keep (empty: all).
    """
    layout: Layout = LAYOUTS.load(settings["layout"])
    wanted = list(settings["subsets"])
    return [one for one in layout(held, settings, Counter()) if not wanted or one.subset in wanted]
