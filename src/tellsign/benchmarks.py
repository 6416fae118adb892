"""Folder layouts: which files of a benchmark are images of which subset, part and label."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tellsign.errors import UserError, choose, near_miss
from tellsign.inventory import walk

REAL, FAKE = 0, 1
LABEL_FOLDERS = {"0_real": REAL, "1_fake": FAKE}
PART_FOLDERS = ("train", "test")

FOLDER_TREE = """\
  <root>/<subset>/{0_real,1_fake}/*.jpg                      parts are made by the setting test_fraction
  <root>/<subset>/<class>/{0_real,1_fake}/*.jpg              classes are pooled
  <root>/<subset>/{train,test}/[<class>/]{0_real,1_fake}/*.jpg"""
DEMO_TREE = """\
  roots train, test: photographs, shared by all subsets of that part
  every other root is a generator:  <root>/{train,test}/*.jpg"""
PHOTOS_TREE = "  <root>/**/*.jpg    real photographs only"


@dataclass(frozen=True, order=True)
class ImageFile:
    """One image of one subset.

    Attributes:
        subset: One generator with the real images paired to it.
        part: ``train``, ``test`` or ``pretrain``; empty where it follows from the image (:func:`part_of`).
        label: 0 real, 1 fake.
        generator: What made it; ``real`` for photographs.
        root: Key of the root folder.
        path: Posix path relative to that root.
    """

    subset: str
    part: str
    label: int
    generator: str
    root: str
    path: str


@dataclass(frozen=True)
class Listing:
    """The images of a benchmark in a fixed order, and how many other files were passed over, by reason."""

    files: list[ImageFile]
    skipped: dict[str, int] = field(default_factory=dict)


def part_of(image_id: str, seed: int, test_fraction: float) -> str:
    """Put an image in ``test`` or ``train`` by a keyed hash of its id, for benchmarks that name no parts.

    One image is in one part wherever it appears, whatever else the folder holds.

    Args:
        image_id: sha256 of the file's bytes.
        seed: equal seeds give equal parts.
        test_fraction: share of images that go to ``test``, in [0, 1]; met on average.
    """
    draw = int.from_bytes(hashlib.sha256(f"part {seed} {image_id}".encode()).digest()[:8]) / 2**64
    return "test" if draw < test_fraction else "train"


def _folder(roots: Mapping[str, Path], exclude: Sequence[str], skipped: Counter[str]) -> list[ImageFile]:
    """Folders under the roots are subsets; a part folder and class folders may lie above the labels'."""
    found: list[ImageFile] = []
    with_parts: set[str] = set()
    for key, root in roots.items():
        for path, *_ in walk(root, skipped, exclude):
            subset, *middle = path.split("/")[:-1] or [""]
            names = [name.lower() for name in middle]
            at = next((i for i, name in enumerate(names) if name in LABEL_FOLDERS), None)
            if at is None:
                skipped[f"outside 0_real and 1_fake (under {subset or 'the root'})"] += 1
                continue
            label = LABEL_FOLDERS[names[at]]
            part = names[0] if names[0] in PART_FOLDERS else ""
            if part:
                with_parts.add(subset)
            found.append(ImageFile(subset, part, label, subset if label == FAKE else "real", key, path))
    files = []
    for file in found:
        if file.subset in with_parts and not file.part:
            skipped[f"outside train and test (under {file.subset})"] += 1
        else:
            files.append(file)
    return files


def _demo(roots: Mapping[str, Path], exclude: Sequence[str], skipped: Counter[str]) -> list[ImageFile]:
    """Roots ``train`` and ``test`` hold photographs, every other root is a generator of the same name."""
    photos = {}
    for part in roots.keys() & set(PART_FOLDERS):
        photos[part] = [(part, path) for path, *_ in walk(roots[part], skipped, exclude)]
    files: list[ImageFile] = []
    for generator in sorted(roots.keys() - set(PART_FOLDERS)):
        parts = set()
        for path, *_ in walk(roots[generator], skipped, exclude):
            part = path.split("/")[0]
            if part not in PART_FOLDERS or "/" not in path:
                skipped[f"outside train and test (generator {generator})"] += 1
                continue
            parts.add(part)
            files.append(ImageFile(generator, part, FAKE, generator, generator, path))
        for part in parts & photos.keys():
            files += [ImageFile(generator, part, REAL, "real", key, path) for key, path in photos[part]]
    return files


def _photos(roots: Mapping[str, Path], exclude: Sequence[str], skipped: Counter[str]) -> list[ImageFile]:
    """Every image is a real photograph for pre-training: one subset ``photos``, one part ``pretrain``."""
    return [
        ImageFile("photos", "pretrain", REAL, "real", key, path)
        for key, root in roots.items()
        for path, *_ in walk(root, skipped, exclude)
    ]


@dataclass(frozen=True)
class Layout:
    """How a benchmark's folders are read, and the tree that an error message shows."""

    read: Callable[[Mapping[str, Path], Sequence[str], Counter[str]], list[ImageFile]]
    tree: str


LAYOUTS: dict[str, Layout] = {
    "folder": Layout(_folder, FOLDER_TREE),
    "demo": Layout(_demo, DEMO_TREE),
    "photos": Layout(_photos, PHOTOS_TREE),
}


def list_images(roots: Mapping[str, Path], settings: Mapping[str, Any]) -> Listing:
    """List a benchmark's images, ordered by subset, part, label, root and path.

    Names of label and part folders and suffixes are matched whatever their case. Hidden files, ``__MACOSX``,
    unknown suffixes and files at a place where the layout has no meaning for them are counted in ``skipped``.

    Args:
        roots: key → folder.
        settings: ``layout`` (a key of :data:`LAYOUTS`), ``subsets`` to keep (empty: all), ``exclude``
            (names of folders directly under a root that hold something else).

    Raises:
        UserError: unknown layout, missing root, no image found, or a subset that is not there.
    """
    layout = choose(LAYOUTS, settings["layout"], "layout")
    expected = f"Layout {settings['layout']!r} expects\n{layout.tree}"
    for key, root in roots.items():
        if not root.is_dir():
            raise UserError(f"root {key!r}: there is no folder {root}. {expected}\nGive the right path for {key!r}.")
    skipped: Counter[str] = Counter()
    files = sorted(layout.read(roots, settings["exclude"], skipped))
    where = ", ".join(f"{key}={root}" for key, root in roots.items()) or "no root at all"
    passed = "; ".join(f"{count} × {why}" for why, count in sorted(skipped.items())) or "nothing"
    if not files:
        raise UserError(
            f"no image found in {where}. {expected}\nPassed over: {passed}.\n"
            "Point the root at the folder above the subsets, or choose another layout."
        )
    wanted = list(settings["subsets"])
    if wanted:
        known = sorted({file.subset for file in files})
        for name in wanted:
            if name not in known:
                raise UserError(
                    f"subset {name!r} is not in {where}.{near_miss(name, known)} Found: {', '.join(known)}. {expected}"
                )
        files = [file for file in files if file.subset in wanted]
    return Listing(files, dict(sorted(skipped.items())))
