"""The demo's images: photographs, and a root for each generator."""

from __future__ import annotations

from collections import Counter

from tellsign.data.layouts.base import FAKE, PART_FOLDERS, REAL, Layout, Placed, Roots, Settings

TREE = """\
  roots train, test: photographs, shared by all subsets of that part
  every other root is a generator:  <root>/{train,test}/*.jpg"""


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[Placed]:
    """Roots ``train`` and ``test`` hold photographs, every other root is a generator of the same name."""
    photos = {}
    for part in roots.keys() & set(PART_FOLDERS):
        photos[part] = [(part, path) for path in roots[part]]
    placed: list[Placed] = []
    for generator in sorted(roots.keys() - set(PART_FOLDERS)):
        parts = set()
        for path, count in roots[generator].items():
            part = path.split("/")[0]
            if part not in PART_FOLDERS:
                skipped[f"outside train and test (generator {generator})"] += count
                continue
            parts.add(part)
            placed.append(Placed(generator, part, FAKE, generator, generator, path))
        for part in parts & photos.keys():
            placed += [Placed(generator, part, REAL, "real", key, path) for key, path in photos[part]]
    return placed


DEMO = Layout(read, TREE)
