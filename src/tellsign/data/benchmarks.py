"""The images of a benchmark: which files are images of which subset, part and label."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tellsign.data.inventory import image_folders, images_in
from tellsign.data.layouts import LAYOUTS
from tellsign.data.layouts.base import PARTS, Layout, Placed, Roots
from tellsign.errors import UserError, near_miss

__all__ = [
    "PARTS",
    "PASSED_OVER",
    "Listing",
    "Placed",
    "folders_of_others",
    "list_images",
    "part_of",
    "passed_over",
    "placed_folders",
]

PASSED_OVER = "passed over"
"""The note of an index that says, as JSON, how many files are none of its images, by place and reason."""


@dataclass(frozen=True)
class Listing:
    """The images of a benchmark in a fixed order, and how many other files were passed over, by place and reason."""

    files: list[Placed]
    skipped: dict[str, dict[str, int]] = field(default_factory=dict)


def passed_over(places: Iterable[Mapping[str, Mapping[str, int]]]) -> Counter[str]:
    """How many files several indexes passed over, by reason; a place that several of them looked at counts once."""
    known: dict[tuple[str, str], int] = {}
    for one in places:
        for place, reasons in one.items():
            for why, count in reasons.items():
                known[place, why] = max(count, known.get((place, why), 0))
    total: Counter[str] = Counter()
    for (_, why), count in sorted(known.items()):
        total[why] += count
    return total


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


def list_images(
    roots: Mapping[str, Path], settings: Mapping[str, Any], elsewhere: Mapping[str, Collection[str]] | None = None
) -> Listing:
    """List a benchmark's images, ordered by subset, part, label, root and path.

    Names of label and part folders and suffixes are matched whatever their case. Hidden files, ``__MACOSX``,
    unknown suffixes and files at a place where the layout has no meaning for them are counted in ``skipped``.

    Args:
        roots: key → folder.
        settings: ``layout`` (a name in `LAYOUTS`), ``subsets`` to keep (empty: all), ``part`` to keep (none: all),
            ``exclude`` (names of folders directly under a root that hold something else). Layouts of named sets read
            three more: ``folders`` (subset → names of its folders), ``reals`` (subset → folders of the reals it is
            paired with; `ufd` and `dire`) and ``parts`` (folder → part; `genimage`).
        elsewhere: Folders that hold other parts and subsets, by root (`folders_of_others`); they are not entered.

    Raises:
        UserError: unknown layout, missing root, no image found, or a subset that is not there.
    """
    layout: Layout = LAYOUTS.load(settings["layout"])
    expected = f"Layout {settings['layout']!r} expects\n{layout.tree}"
    for key, root in roots.items():
        if not root.is_dir():
            raise UserError(f"root {key!r}: there is no folder {root}. {expected}\nGive the right path for {key!r}.")
    held, skipped = {}, {}
    for key, root in roots.items():
        held[key], strays = image_folders(root, settings["exclude"], (elsewhere or {}).get(key, ()))
        skipped |= {f"{key}/{folder}": dict(sorted(reasons.items())) for folder, reasons in strays.items()}
    meaningless: Counter[str] = Counter()
    folders = layout(held, settings, meaningless)
    skipped |= {" ".join(roots): dict(sorted(meaningless.items()))} if meaningless else {}
    where = ", ".join(f"{key}={root}" for key, root in roots.items()) or "no root at all"
    passed = "; ".join(f"{count} × {why}" for why, count in sorted(passed_over([skipped]).items())) or "nothing"
    if not folders:
        raise UserError(
            f"no image found in {where}. {expected}\nPassed over: {passed}.\n"
            "Point the root at the folder above the subsets, or choose another layout."
        )
    if part := settings.get("part"):
        folders = [folder for folder in folders if folder.part == part]
        where = f"the {part} part of {where}"
    wanted = list(settings["subsets"])
    if wanted:
        known = sorted({folder.subset for folder in folders})
        for name in wanted:
            if name not in known:
                found = ", ".join(known) or "nothing"
                raise UserError(
                    f"subset {name!r} is not in {where}.{near_miss(name, known)} Found: {found}. {expected}"
                )
        folders = [folder for folder in folders if folder.subset in wanted]
    paths = {(f.root, f.path): images_in(roots[f.root], f.path) for f in folders}
    files = [replace(folder, path=path) for folder in folders for path in paths[folder.root, folder.path]]
    return Listing(sorted(files), dict(sorted(skipped.items())))


def folders_of_others(
    placed: Iterable[Placed], held: Mapping[str, Collection[str]], part: str, subset: str
) -> dict[str, list[str]]:
    """Root key → the highest folders below it in which every image is of another part or subset.

    Args:
        placed: Where the layout puts folders; those without a meaning are left out.
        held: Root key → folders that hold images.
        part: The part.
        subset: The subset.
    """
    placed = list(placed)
    own = {(one.root, one.path) for one in placed if (one.part, one.subset) == (part, subset)}
    others = {(one.root, one.path) for one in placed} - own
    found: dict[str, list[str]] = {}
    for key, folders in held.items():
        looked_at = {above for folder in folders if (key, folder) not in others for above in _path_to(folder)}
        tops = (
            next((above for above in _path_to(folder) if above not in looked_at), None)
            for folder in folders
            if (key, folder) in others
        )
        found[key] = sorted({top for top in tops if top is not None})
    return found


def _path_to(folder: str) -> list[str]:
    """The folders on the way to a folder, from the highest; the last is itself."""
    names = folder.split("/")
    return ["/".join(names[: n + 1]) for n in range(len(names))]


def placed_folders(held: Roots, settings: Mapping[str, Any]) -> list[Placed]:
    """Of which subset, part and label the images of each folder are; folders without a meaning are left out.

    Args:
        held: Root key → folder → number of images.
        settings: As for :func:`list_images`; ``subsets`` to keep (empty: all).
    """
    layout: Layout = LAYOUTS.load(settings["layout"])
    wanted = list(settings["subsets"])
    return [one for one in layout(held, settings, Counter()) if not wanted or one.subset in wanted]
