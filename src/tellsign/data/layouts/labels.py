"""Folders of real and of generated images below those of subsets, under the names that people give them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tellsign.data.layouts.base import FAKE, LABEL_FOLDERS, PART_FOLDERS, REAL, Placed, Roots
from tellsign.errors import UserError, near_miss

NAMINGS: tuple[Mapping[str, int], ...] = (
    LABEL_FOLDERS,
    {"real": REAL, "fake": FAKE},
    {"nature": REAL, "ai": FAKE},
    {"0": REAL, "1": FAKE},
)
"""Names of label folders in lower case. Of several on one path the first of these decides: ``0`` may be a class."""


def label_of(folders: Sequence[str]) -> tuple[int, int] | None:
    """The label that a path's folders give, and the position of the folder that says so; None where none does.

    Raises:
        UserError: one folder of the path says real, and another of the same naming says generated.
    """
    names = [name.lower() for name in folders]
    for naming in NAMINGS:
        at = [i for i, name in enumerate(names) if name in naming]
        if len({naming[names[i]] for i in at}) > 1:
            raise UserError(
                f"{'/'.join(folders)}: {folders[at[0]]!r} and {folders[at[1]]!r} lie in one another, so it cannot be "
                "told whether these images are real. Rename the one that is no label."
            )
        if at:
            return naming[names[at[0]]], at[0]
    return None


def unlabelled(root: Mapping[str, int]) -> dict[str, str]:
    """Folders directly under a root that hold images but no label folder → what they hold, and near misses.

    Args:
        root: Folder below the root → how many images it holds.
    """
    held: dict[str, dict[str, int]] = {}
    labelled = set()
    for path, count in root.items():
        subset, *folders = path.split("/")
        if label_of(folders):
            labelled.add(subset)
        elif subset:
            held.setdefault(subset, {})["/".join(folders)] = count
    return {subset: _described(subset, folders) for subset, folders in held.items() if subset not in labelled}


def _described(subset: str, folders: Mapping[str, int]) -> str:
    if label_of([subset]):
        return "it is itself a label's folder: give the folder above as root, or put it into one named after the subset"
    counts: Counter[str] = Counter()
    for path, count in folders.items():
        counts[path.split("/")[0]] += count
    names = [name for naming in NAMINGS for name in naming]
    said = [
        f"{name or 'no folder'} ({count} images).{near_miss(name.lower(), names)}" for name, count in counts.items()
    ]
    return "it holds " + " ".join(said[:5] + ([f"And {len(said) - 5} more."] if len(said) > 5 else []))


def check_labels(roots: Roots) -> None:
    """Hold every folder of images directly under a root against the names of label folders.

    Raises:
        UserError: some have none; they are listed with what they hold.
    """
    lines = [f"  {subset}: {what}" for root in roots.values() for subset, what in sorted(unlabelled(root).items())]
    if lines:
        raise UserError(
            "these folders hold images, but no folder that says which are real:\n" + "\n".join(lines) + "\nName the "
            "label folders 0_real and 1_fake, real and fake, nature and ai, or 0 and 1. What is no subset belongs "
            "elsewhere, or under `exclude` of the benchmark. `tellsign look FOLDER` shows what is understood."
        )


def placed(roots: Roots, skipped: Counter[str]) -> list[Placed]:
    """Folders under the roots are subsets; a part folder and class folders may lie above the labels'.

    Images in no label folder are counted in ``skipped``, whole subsets among them: see `check_labels`.
    """
    listed = list(_labelled(roots, skipped))
    with_parts = {one.subset for one, _ in listed if one.part}
    kept = []
    for one, count in listed:
        if one.subset in with_parts and not one.part:
            skipped[f"outside train and test (under {one.subset})"] += count
        else:
            kept.append(one)
    return kept


def _labelled(roots: Roots, skipped: Counter[str]) -> Iterator[tuple[Placed, int]]:
    for key, root in roots.items():
        for path, count in root.items():
            subset, *folders = path.split("/")
            if (found := label_of(folders)) is None:
                skipped[f"outside the label folders (under {subset or 'the root'})"] += count
                continue
            label, at = found
            part = folders[0].lower() if folders[0].lower() in PART_FOLDERS else ""
            category = "/".join(folders[bool(part) : at])
            yield Placed(subset, part, label, subset if label == FAKE else "real", key, path, category), count
