"""Merge two branches' lists of artifacts, data.dvc. Git calls it, once `tellsign share --setup` has been run.

    tellsign merge_data --ancestor %O --ours %A --theirs %B

The merged list replaces --ours. It has what either branch added, and lacks what either dropped. If both made the same
artifact, --ours is kept, whole: the recipes are equal. Then `tellsign get` brings what the other branch made, and
`tellsign share` pushes the merged list. The exit status is 0, or 2, which git takes for a conflict.
"""

from __future__ import annotations

import logging
from pathlib import Path

from tellsign.schema.strict_yaml import read_yaml
from tellsign.sharing.artifacts import merged
from tellsign.sharing.dvc import entries_of, opened, tree_of, write_list

log = logging.getLogger(__name__)


def main(*, ancestor: Path, ours: Path, theirs: Path) -> int:
    """Merge; see the module."""
    with opened(Path()) as repo:
        names = {"the common ancestor": ancestor, "your branch": ours, "the other branch": theirs}
        lists = [entries_of(tree_of(repo, md5_in(file), whose)) for whose, file in names.items()]
        result, both = merged(*lists)
        write_list(repo, result, ours)
    log.info("data.dvc: %d files of both branches", len(result))
    if both:
        log.info("made on both, ours kept: %s", ", ".join(both))
    return 0


def md5_in(file: Path) -> str | None:
    """The md5 of the list that a version of data.dvc names, if it does; an empty file has no ancestor."""
    listing = read_yaml(file)
    return listing["outs"][0].get("md5") if listing else None
