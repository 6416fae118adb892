"""Real photographs for pre-training."""

from __future__ import annotations

from collections import Counter

from tellsign.data.inventory import walk
from tellsign.data.layouts.base import REAL, ImageFile, Layout, Roots, Settings

TREE = "  <root>/**/*.jpg    real photographs only"


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[ImageFile]:
    """Every image is a real photograph for pre-training: one subset ``photos``, one part ``pretrain``."""
    return [
        ImageFile("photos", "pretrain", REAL, "real", key, path)
        for key, root in roots.items()
        for path, *_ in walk(root, skipped, settings["exclude"])
    ]


PHOTOS = Layout(read, TREE)
