"""The demo's images: photographs, and a root for each generator."""

from __future__ import annotations

from collections import Counter

from tellsign.data.inventory import walk
from tellsign.data.layouts.base import FAKE, PART_FOLDERS, REAL, ImageFile, Layout, Roots, Settings

TREE = """\
  roots train, test: photographs, shared by all subsets of that part
  every other root is a generator:  <root>/{train,test}/*.jpg"""


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[ImageFile]:
    """Roots ``train`` and ``test`` hold photographs, every other root is a generator of the same name."""
    photos = {}
    for part in roots.keys() & set(PART_FOLDERS):
        photos[part] = [(part, path) for path, *_ in walk(roots[part], skipped, settings["exclude"])]
    files: list[ImageFile] = []
    for generator in sorted(roots.keys() - set(PART_FOLDERS)):
        parts = set()
        for path, *_ in walk(roots[generator], skipped, settings["exclude"]):
            part = path.split("/")[0]
            if part not in PART_FOLDERS or "/" not in path:
                skipped[f"outside train and test (generator {generator})"] += 1
                continue
            parts.add(part)
            files.append(ImageFile(generator, part, FAKE, generator, generator, path))
        for part in parts & photos.keys():
            files += [ImageFile(generator, part, REAL, "real", key, path) for key, path in photos[part]]
    return files


DEMO = Layout(read, TREE)
