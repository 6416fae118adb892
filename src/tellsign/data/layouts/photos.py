"""Real photographs for pre-training."""

from __future__ import annotations

from collections import Counter

from tellsign.data.layouts.base import REAL, Layout, Placed, Roots, Settings

TREE = "  <root>/**/*.jpg    real photographs only"


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[Placed]:
    """Every image is a real photograph for pre-training: one subset ``photos``, one part ``pretrain``."""
    return [Placed("photos", "pretrain", REAL, "real", key, path) for key, root in roots.items() for path in root]


PHOTOS = Layout(read, TREE)
