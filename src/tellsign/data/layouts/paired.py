"""Folders of fakes and folders of reals that are paired: UniversalFakeDetect and DiffusionForensics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tellsign.data.layouts.base import (
    FAKE,
    LABEL_FOLDERS,
    PARTS,
    REAL,
    Layout,
    Placed,
    Roots,
    Settings,
    subsets_by_folder,
)

UFD_TREE = """\
  <root>/<generator>/1_fake/*    one label a folder;
  <root>/<source>/0_real/*       the generators that the setting `reals` pairs with a source share its images"""

DIRE_TREE = """\
  roots train, val, test:  <root>/<generator>/**    and  <root>/real/**, whose images all generators share"""

Paths = dict[str, list[str]]


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[Placed]:
    """Folders of fakes, and folders of reals that the setting ``reals`` pairs with them.

    Real images in a generator's own folder (public copies are laid out so) are taken where no folder that it is
    paired with is there, so that none is counted twice.
    """
    placed: list[Placed] = []
    for key, root in roots.items():
        part = key if key in PARTS else "test"
        fakes, own, shared = _sorted_by_subset(root, settings, skipped)
        for subset in sorted(fakes.keys() | own.keys()):
            placed += [Placed(subset, part, FAKE, subset, key, path) for path in fakes.get(subset, [])]
            reals = shared.get(subset) or own.get(subset, [])
            placed += [Placed(subset, part, REAL, "real", key, path) for path in reals]
            if subset in shared and subset in own:
                beside = sum(root[path] for path in own[subset])
                skipped[f"real images beside the fakes (under {subset}: it is paired with others)"] += beside
    return placed


def _sorted_by_subset(root: Mapping[str, int], settings: Settings, skipped: Counter[str]) -> tuple[Paths, Paths, Paths]:
    """Folders by subset: fakes, real images in the generators' own folders, and those in folders paired with them."""
    generators, sources = subsets_by_folder(settings["folders"]), subsets_by_folder(settings["reals"])
    fakes, own, shared = Paths(), Paths(), Paths()
    for path, count in root.items():
        names = path.lower().split("/") if path else []
        at = next((i for i, name in enumerate(names) if name in generators or name in sources), None)
        if at is None:
            skipped[f"in no folder that is named (under {path.split('/')[0] if names else 'the root'})"] += count
            continue
        label = next((LABEL_FOLDERS[name] for name in names[at + 1 :] if name in LABEL_FOLDERS), None)
        if names[at] not in sources:
            subsets, paths = generators[names[at]], own if label == REAL else fakes
        elif label == FAKE:
            skipped[f"fake in a folder of reals (under {path.split('/')[at]})"] += count
            continue
        else:
            subsets, paths = sources[names[at]], shared
        for subset in subsets:
            paths.setdefault(subset, []).append(path)
    return fakes, own, shared


UFD = Layout(read, UFD_TREE)
DIRE = Layout(read, DIRE_TREE)
