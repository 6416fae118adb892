"""Any tree of subsets with folders of real and of generated images."""

from __future__ import annotations

from collections import Counter

from tellsign.data.layouts.base import Layout, Placed, Roots, Settings
from tellsign.data.layouts.labels import check_labels, placed

TREE = """\
  <root>/<subset>/{0_real,1_fake}/*.jpg                      parts are made by the setting test_fraction
  <root>/<subset>/<class>/{0_real,1_fake}/*.jpg              classes are pooled
  <root>/<subset>/{train,test}/[<class>/]{0_real,1_fake}/*.jpg
The label folders may also be called real and fake, nature and ai, or 0 (real) and 1 (fake), in any case."""


def read(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[Placed]:
    """Folders under the roots are subsets; a part folder and class folders may lie above the labels'.

    Raises:
        UserError: a subset without label folders, or one label inside another.
    """
    check_labels(roots)
    return placed(roots, skipped)


FOLDER = Layout(read, TREE)
