"""ForenSynths (Wang et al. 2020) and what is laid out like it."""

from __future__ import annotations

from collections import Counter

from tellsign.data.layouts.base import LABEL_FOLDERS, REAL, Layout, Placed, Roots, Settings, subsets_by_folder
from tellsign.errors import choose

TREE = """\
  root test:         <root>/<set>/[<class>/]{0_real,1_fake}/*    classes of a set are pooled
  roots train, val:  <root>/<class>/{0_real,1_fake}/*            ProGAN's images, every class a subset progan-<class>"""


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[Placed]:
    """ForenSynths and what is laid out like it: sets for testing, classes of ProGAN's images for training."""
    subsets = subsets_by_folder(settings["folders"])
    placed = []
    for key, root in roots.items():
        part = choose({name: name for name in ("train", "val", "test")}, key, "root of layout 'cnndetection'")
        for path, count in root.items():
            folders = path.split("/") if path else []
            names = [name.lower() for name in folders]
            labelled = next((i for i, name in enumerate(names) if name in LABEL_FOLDERS), None)
            if labelled is None:
                skipped[f"outside 0_real and 1_fake (under {folders[0] if folders else 'the root'})"] += count
                continue
            # a set's folder lies above its classes; a training class is named by the folder above the labels
            order = range(labelled) if part == "test" else range(labelled - 1, -1, -1)
            at = next((i for i in order if names[i] in subsets), None)
            if at is None:
                skipped[f"in no folder that is named (under {folders[0]})"] += count
                continue
            label = LABEL_FOLDERS[names[labelled]]
            category = "/".join(folders[at + 1 : labelled]) if part == "test" else folders[at]
            for subset in subsets[names[at]]:
                generator = "real" if label == REAL else subset if part == "test" else "progan"
                placed.append(Placed(subset, part, label, generator, key, path, category))
    return placed


CNNDETECTION = Layout(read, TREE)
