"""Any tree of subsets with folders 0_real and 1_fake."""

from __future__ import annotations

from collections import Counter

from tellsign.data.layouts.base import FAKE, LABEL_FOLDERS, PART_FOLDERS, Layout, Placed, Roots, Settings

TREE = """\
  <root>/<subset>/{0_real,1_fake}/*.jpg                      parts are made by the setting test_fraction
  <root>/<subset>/<class>/{0_real,1_fake}/*.jpg              classes are pooled
  <root>/<subset>/{train,test}/[<class>/]{0_real,1_fake}/*.jpg"""


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[Placed]:
    """Folders under the roots are subsets; a part folder and class folders may lie above the labels'."""
    listed: list[tuple[Placed, int]] = []
    with_parts: set[str] = set()
    for key, root in roots.items():
        for path, count in root.items():
            subset, *middle = path.split("/")
            names = [name.lower() for name in middle]
            at = next((i for i, name in enumerate(names) if name in LABEL_FOLDERS), None)
            if at is None:
                skipped[f"outside 0_real and 1_fake (under {subset or 'the root'})"] += count
                continue
            label = LABEL_FOLDERS[names[at]]
            part = names[0] if names[0] in PART_FOLDERS else ""
            if part:
                with_parts.add(subset)
            category = "/".join(middle[bool(part) : at])
            one = Placed(subset, part, label, subset if label == FAKE else "real", key, path, category)
            listed.append((one, count))
    placed = []
    for one, count in listed:
        if one.subset in with_parts and not one.part:
            skipped[f"outside train and test (under {one.subset})"] += count
        else:
            placed.append(one)
    return placed


FOLDER = Layout(read, TREE)
