"""GenImage (Zhu et al. 2023)."""

from __future__ import annotations

from collections import Counter

from tellsign.data.layouts.base import FAKE, REAL, Layout, Placed, Roots, Settings, subsets_by_folder

LABELS = {"nature": REAL, "ai": FAKE}


TREE = """\
  <root>/<generator>/[<any folder>/]{train,val}/{ai,nature}/*    val is the test part; ai is fake, nature is real"""


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[Placed]:
    """GenImage: generator, any folders (the archives have one, which not every unpacking keeps), part, label."""
    subsets = subsets_by_folder(settings["folders"])
    parts = {folder.lower(): part for folder, part in settings["parts"].items()}
    placed = []
    for key, root in roots.items():
        for path, count in root.items():
            names = path.lower().split("/") if path else []
            at = next((i for i, name in enumerate(names) if name in subsets), None)
            if at is None:
                skipped[f"in no generator's folder (under {path.split('/')[0] if names else 'the root'})"] += count
                continue
            place = next((i for i in range(at + 1, len(names) - 1) if names[i] in parts), None)
            label = None if place is None else LABELS.get(names[place + 1])
            if place is None or label is None:
                skipped[f"outside {{{','.join(parts)}}}/{{ai,nature}} (under {path.split('/')[at]})"] += count
                continue
            for subset in subsets[names[at]]:
                generator = subset if label == FAKE else "real"
                placed.append(Placed(subset, parts[names[place]], label, generator, key, path))
    return placed


GENIMAGE = Layout(read, TREE)
