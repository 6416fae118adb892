"""What a folder of a user's images holds, found without decoding a pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tellsign.data.benchmarks import passed_over
from tellsign.data.image_files import opened
from tellsign.data.inventory import image_folders, images_in
from tellsign.data.kinds import with_kind
from tellsign.data.layouts.base import Placed
from tellsign.data.layouts.labels import label_of, placed, unlabelled
from tellsign.data.suffixes import SUFFIXES_OF

ROOT = "images"


@dataclass(frozen=True)
class Head:
    """What a file's header says: format, and width and height in pixels before any EXIF rotation."""

    format: str
    width: int
    height: int


@dataclass
class Group:
    """The images of one subset and label.

    Attributes:
        subset: Name of the subset.
        label: 0 real, 1 fake.
        names: Names of the label folders as they stand on the disk → how many images they hold.
        parts: Part (empty where tellsign draws it from the content) → how many images.
        heads: Headers of the files that were looked at.
        misnamed: Format and suffix that do not go together → how many of these.
        unreadable: Path below the root and reason of those whose header cannot be read.
    """

    subset: str
    label: int
    names: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    heads: list[Head] = field(default_factory=list)
    misnamed: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many images it has."""
        return self.names.total()

    @property
    def formats(self) -> Counter[str]:
        """Format → how many of the files that were looked at."""
        return Counter(head.format for head in self.heads)


@dataclass(frozen=True)
class Survey:
    """What a folder holds.

    Attributes:
        groups: By subset and label, sorted.
        unlabelled: Folders of images that have no label folder → what they hold.
        skipped: Reason → how many files are passed over.
        excluded: Excluded folder → how many images it holds.
    """

    groups: list[Group]
    unlabelled: dict[str, str]
    skipped: dict[str, int]
    excluded: dict[str, int]


def head_of(path: Path) -> Head:
    """The header of an image file.

    Raises:
        ValueError, OSError: see `opened`.
    """
    with opened(path) as picture:
        return Head(picture.format or "", picture.width, picture.height)


def survey(root: Path, exclude: Sequence[str], most: int | None) -> Survey:
    """Look at a folder as the layout ``folder`` reads it.

    Args:
        root: The folder above the subsets.
        exclude: Names of folders directly under it that hold something else.
        most: Headers that are read of each subset and label, evenly spread over the sorted files; None reads all.

    Raises:
        UserError: one label lies inside another.
        OSError: a folder cannot be read.
    """
    held, strays = image_folders(root, exclude)
    meaningless: Counter[str] = Counter()
    folders = placed({ROOT: held}, meaningless)
    bare = unlabelled(held)
    for name in bare:
        del meaningless[f"outside the label folders (under {name})"]
    skipped = passed_over([{**strays, ROOT: meaningless}])
    for name in exclude:
        del skipped[f"excluded folder {name}"]
    groups = [_group(root, key, own, held, most) for key, own in _by_group(folders)]
    inside = {name: sum(image_folders(root / name)[0].values()) for name in exclude if (root / name).is_dir()}
    return Survey(groups, bare, {with_kind(why): count for why, count in sorted(skipped.items())}, inside)


def _by_group(folders: Iterable[Placed]) -> Iterator[tuple[tuple[str, int], list[Placed]]]:
    groups: dict[tuple[str, int], list[Placed]] = {}
    for one in folders:
        groups.setdefault((one.subset, one.label), []).append(one)
    yield from sorted(groups.items())


def _group(
    root: Path, key: tuple[str, int], folders: Sequence[Placed], held: Mapping[str, int], most: int | None
) -> Group:
    group, files = Group(*key), []
    for one in folders:
        names = one.path.split("/")[1:]
        found = label_of(names)
        assert found is not None  # it has been placed by it
        group.names[names[found[1]]] += held[one.path]
        group.parts[one.part] += held[one.path]
        files += images_in(root, one.path)
    files.sort()
    step = 1 if most is None else max(1, -(-len(files) // most))
    for path in files[::step]:
        try:
            head = head_of(root / path)
        except (ValueError, OSError) as problem:
            group.unreadable.append((path, str(problem)))
            continue
        group.heads.append(head)
        suffix = PurePosixPath(path).suffix.lower()
        if suffix not in SUFFIXES_OF.get(head.format, (suffix,)):
            group.misnamed[f"{head.format} called {suffix}"] += 1
    return group
