"""Any tree of subsets with folders 0_real and 1_fake."""

from __future__ import annotations

from collections import Counter

from tellsign.data.inventory import walk
from tellsign.data.layouts.base import FAKE, LABEL_FOLDERS, PART_FOLDERS, ImageFile, Layout, Roots, Settings

TREE = """\
  <root>/<subset>/{0_real,1_fake}/*.jpg                      parts are made by the setting test_fraction
  <root>/<subset>/<class>/{0_real,1_fake}/*.jpg              classes are pooled
  <root>/<subset>/{train,test}/[<class>/]{0_real,1_fake}/*.jpg"""


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[ImageFile]:
    """Folders under the roots are subsets; a part folder and class folders may lie above the labels'."""
    listed: list[ImageFile] = []
    with_parts: set[str] = set()
    for key, root in roots.items():
        for path, *_ in walk(root, skipped, settings["exclude"]):
            subset, *middle = path.split("/")[:-1] or [""]
            names = [name.lower() for name in middle]
            at = next((i for i, name in enumerate(names) if name in LABEL_FOLDERS), None)
            if at is None:
                skipped[f"outside 0_real and 1_fake (under {subset or 'the root'})"] += 1
                continue
            label = LABEL_FOLDERS[names[at]]
            part = names[0] if names[0] in PART_FOLDERS else ""
            if part:
                with_parts.add(subset)
            category = "/".join(middle[bool(part) : at])
            listed.append(ImageFile(subset, part, label, subset if label == FAKE else "real", key, path, category))
    files = []
    for file in listed:
        if file.subset in with_parts and not file.part:
            skipped[f"outside train and test (under {file.subset})"] += 1
        else:
            files.append(file)
    return files


FOLDER = Layout(read, TREE)
