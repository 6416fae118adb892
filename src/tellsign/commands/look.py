"""Say what tellsign sees in a folder of images, before anything is trained or tested on it.

    tellsign look FOLDER                  the folder above the subsets, as for config/folder.yaml's root
    tellsign look FOLDER --every          read the header of every file, not of a sample of each subset and label

It decodes nothing and writes nothing. It prints a row for every subset and label:

  label folders    what they are called and what that means: 0_real and 1_fake, real and fake, nature and ai, 0 and 1
  images           how many
  parts            train and test where folders say so, else drawn from the content
  formats, sizes   of the headers that were read; smallest and largest size in pixels, by area

then what is passed over and why, what is to be mended, and how to go on. docs/predict.md says more.

The exit status is 0 when the folder can be used as it is, 1 when something is to be mended, 2 when the question itself
is wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tellsign.commands.printing import print_table
from tellsign.data.layouts import LAYOUTS
from tellsign.data.survey import Group, Survey, survey
from tellsign.errors import UserError

SAMPLE = 100
"""Headers that are read of each subset and label."""

LISTED = 5
"""Files of a kind that are named."""

LABELS = ("real", "fake")


def main(folder: Path, *, exclude: list[str] | None = None, every: bool = False) -> int:
    """Look at a folder and tell; see the module.

    Args:
        folder: The folder above the subsets.
        exclude: Names of folders directly under it that hold something else; without it photos, which
            config/folder.yaml takes for pre-training.
        every: Read the header of every file.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "not there"
        raise UserError(f"{folder} is {what}; give the folder above the subsets.")
    seen = survey(folder, exclude or ["photos"], None if every else SAMPLE)
    subsets = list(dict.fromkeys(group.subset for group in seen.groups))
    total = sum(group.count for group in seen.groups)
    sys.stdout.write(f"{folder}: {total:,} images in {len(subsets)} subsets\n")
    if seen.groups:
        sys.stdout.write("\n")
        print_table(HEADS, map(row_of, seen.groups), right=("images",))
    wrong = list(to_mend(seen))
    for title, lines in (("Beside the subsets", beside(seen)), ("To be mended", wrong)):
        if lines:
            sys.stdout.write(f"\n{title}:\n" + "".join(f"  {line}\n" for line in lines))
    sys.stdout.write(f"\n{how_to_go_on(folder, subsets, wrong)}\n")
    return 1 if wrong else 0


HEADS = ("subset", "label", "label folders", "images", "parts", "formats", "sizes")


def row_of(group: Group) -> tuple[str, ...]:
    """What is said of a subset's images of one label."""
    names = ", ".join(sorted(group.names))
    parts = ", ".join(f"{part} {count:,}" for part, count in sorted(group.parts.items()) if part) or "by content"
    formats = ", ".join(f"{name} {count:,}" for name, count in group.formats.most_common())
    if len(group.heads) < group.count:
        formats += f" of {len(group.heads):,} read"
    return (group.subset, LABELS[group.label], names, f"{group.count:,}", parts, formats, sizes_of(group))


def sizes_of(group: Group) -> str:
    """The smallest and the largest size by area, width × height in pixels."""
    sizes = sorted({(head.width * head.height, f"{head.width}×{head.height}") for head in group.heads})
    texts = [text for _, text in sizes]
    return " to ".join([texts[0], texts[-1]] if len(texts) > 1 else texts)


def beside(seen: Survey) -> list[str]:
    """What lies in the folder and is no image of a subset, and files whose name says another format."""
    lines = [f"{name}: {count:,} images, not taken for a subset" for name, count in seen.excluded.items()]
    lines += [f"passed over: {count:,} × {why}" for why, count in seen.skipped.items()]
    misnamed = sum((group.misnamed for group in seen.groups), Counter[str]())
    return lines + [f"{count:,} × {what}: read as what they are" for what, count in sorted(misnamed.items())]


def to_mend(seen: Survey) -> Iterator[str]:
    """What keeps the folder from being used, or files in it from being read."""
    for name, what in seen.unlabelled.items():
        yield f"{name} has no label folder: {what}"
    labels: dict[str, set[int]] = {}
    for group in seen.groups:
        labels.setdefault(group.subset, set()).add(group.label)
    for name, there in labels.items():
        if len(there) == 1:
            only, other = LABELS[min(there)], LABELS[1 - min(there)]
            yield f"{name} has {only} images alone: a subset needs {other} ones beside them"
    unreadable = [one for group in seen.groups for one in group.unreadable]
    yield from (f"{path} cannot be read: {why}" for path, why in unreadable[:LISTED])
    if len(unreadable) > LISTED:
        yield f"and {len(unreadable) - LISTED} more files that cannot be read"


def how_to_go_on(folder: Path, subsets: Sequence[str], wrong: Sequence[str]) -> str:
    """The next command, or what the folder should look like."""
    if not subsets or wrong:
        return f"tellsign expects\n{LAYOUTS.load('folder').tree}"
    return (
        "Train on one subset and test on all:\n  snakemake --cores 2 tables --configfile config/folder.yaml "
        f"--config root={folder} train={subsets[0]}"
    )
