"""Folder layouts: which files of a benchmark are images of which subset, part and label."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tellsign.data.inventory import walk
from tellsign.errors import UserError, choose, near_miss

REAL, FAKE = 0, 1
LABEL_FOLDERS = {"0_real": REAL, "1_fake": FAKE}
GENIMAGE_LABELS = {"nature": REAL, "ai": FAKE}
PART_FOLDERS = ("train", "test")
PARTS = ("pretrain", "train", "val", "test")
"""From the first that may be looked at to the last: a part's images may not appear in any part before it."""
PASSED_OVER = "passed over"
"""The note of an index that says, as JSON, how many files had no meaning for its layout, by reason."""

FOLDER_TREE = """\
  <root>/<subset>/{0_real,1_fake}/*.jpg                      parts are made by the setting test_fraction
  <root>/<subset>/<class>/{0_real,1_fake}/*.jpg              classes are pooled
  <root>/<subset>/{train,test}/[<class>/]{0_real,1_fake}/*.jpg"""
DEMO_TREE = """\
  roots train, test: photographs, shared by all subsets of that part
  every other root is a generator:  <root>/{train,test}/*.jpg"""
PHOTOS_TREE = "  <root>/**/*.jpg    real photographs only"
GENIMAGE_TREE = """\
  <root>/<generator>/[<any folder>/]{train,val}/{ai,nature}/*    val is the test part; ai is fake, nature is real"""
CNNDETECTION_TREE = """\
  root test:         <root>/<set>/[<class>/]{0_real,1_fake}/*    classes of a set are pooled
  roots train, val:  <root>/<class>/{0_real,1_fake}/*            ProGAN's images, every class a subset progan-<class>"""
UFD_TREE = """\
  <root>/<generator>/1_fake/*    one label a folder;
  <root>/<source>/0_real/*       the generators that the setting `reals` pairs with a source share its images"""
DIRE_TREE = """\
  roots train, val, test:  <root>/<generator>/**    and  <root>/real/**, whose images all generators share"""


@dataclass(frozen=True, order=True)
class ImageFile:
    """One image of one subset.

    Attributes:
        subset: One generator with the real images paired to it.
        part: One of :data:`PARTS`; empty where it follows from the image (:func:`part_of`).
        label: 0 real, 1 fake.
        generator: What made it; ``real`` for photographs.
        root: Key of the root folder.
        path: Posix path relative to that root.
        category: Folder of the class of what is shown, in benchmarks that have such; else empty.
    """

    subset: str
    part: str
    label: int
    generator: str
    root: str
    path: str
    category: str = ""


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


Roots = Mapping[str, Path]
Settings = Mapping[str, Any]


def _folder(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[ImageFile]:
    """Folders under the roots are subsets; a part folder and class folders may lie above the labels'."""
    found: list[ImageFile] = []
    with_parts: set[str] = set()
    for key, root in roots.items():
        for path, *_ in walk(root, skipped, settings["exclude"]):
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
            category = "/".join(middle[bool(part) : at])
            found.append(ImageFile(subset, part, label, subset if label == FAKE else "real", key, path, category))
    files = []
    for file in found:
        if file.subset in with_parts and not file.part:
            skipped[f"outside train and test (under {file.subset})"] += 1
        else:
            files.append(file)
    return files


def _demo(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[ImageFile]:
    """Roots ``train`` and ``test`` hold photographs, every other root is a generator of the same name."""
    photos = {}
    for part in roots.keys() & set(PART_FOLDERS):
        photos[part] = [(part, path) for path, *_ in walk(roots[part], skipped, settings["exclude"])]
    files: list[ImageFile] = []
    for generator in sorted(roots.keys() - set(PART_FOLDERS)):
        parts = set()
        for path, *_ in walk(roots[generator], skipped, settings["exclude"]):
            part = path.split("/")[0]
            if part not in PART_FOLDERS or "/" not in path:
                skipped[f"outside train and test (generator {generator})"] += 1
                continue
            parts.add(part)
            files.append(ImageFile(generator, part, FAKE, generator, generator, path))
        for part in parts & photos.keys():
            files += [ImageFile(generator, part, REAL, "real", key, path) for key, path in photos[part]]
    return files


def _photos(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[ImageFile]:
    """Every image is a real photograph for pre-training: one subset ``photos``, one part ``pretrain``."""
    return [
        ImageFile("photos", "pretrain", REAL, "real", key, path)
        for key, root in roots.items()
        for path, *_ in walk(root, skipped, settings["exclude"])
    ]


def _aliases(folders: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Folder name in lower case → the names that the setting gives it."""
    found: dict[str, list[str]] = {}
    for name, held in folders.items():
        for folder in held:
            found.setdefault(folder.lower(), []).append(name)
    return found


def _genimage(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[ImageFile]:
    """GenImage: generator, any folders (the archives have one, which not every unpacking keeps), part, label."""
    subsets = _aliases(settings["folders"])
    parts = {folder.lower(): part for folder, part in settings["parts"].items()}
    files = []
    for key, root in roots.items():
        for path, *_ in walk(root, skipped, settings["exclude"]):
            names = path.lower().split("/")[:-1]
            at = next((i for i, name in enumerate(names) if name in subsets), None)
            if at is None:
                skipped[f"in no generator's folder (under {path.split('/')[0] if names else 'the root'})"] += 1
                continue
            place = next((i for i in range(at + 1, len(names) - 1) if names[i] in parts), None)
            label = None if place is None else GENIMAGE_LABELS.get(names[place + 1])
            if place is None or label is None:
                skipped[f"outside {{{','.join(parts)}}}/{{ai,nature}} (under {path.split('/')[at]})"] += 1
                continue
            for subset in subsets[names[at]]:
                generator = subset if label == FAKE else "real"
                files.append(ImageFile(subset, parts[names[place]], label, generator, key, path))
    return files


def _cnndetection(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[ImageFile]:
    """ForenSynths and what is laid out like it: sets for testing, classes of ProGAN's images for training."""
    subsets = _aliases(settings["folders"])
    files = []
    for key, root in roots.items():
        part = choose({name: name for name in ("train", "val", "test")}, key, "root of layout 'cnndetection'")
        for path, *_ in walk(root, skipped, settings["exclude"]):
            folders = path.split("/")[:-1]
            names = [name.lower() for name in folders]
            labelled = next((i for i, name in enumerate(names) if name in LABEL_FOLDERS), None)
            if labelled is None:
                skipped[f"outside 0_real and 1_fake (under {folders[0] if folders else 'the root'})"] += 1
                continue
            # a set's folder lies above its classes; a training class is named by the folder above the labels
            order = range(labelled) if part == "test" else range(labelled - 1, -1, -1)
            at = next((i for i in order if names[i] in subsets), None)
            if at is None:
                skipped[f"in no folder that is named (under {folders[0]})"] += 1
                continue
            label = LABEL_FOLDERS[names[labelled]]
            category = "/".join(folders[at + 1 : labelled]) if part == "test" else folders[at]
            for subset in subsets[names[at]]:
                generator = "real" if label == REAL else subset if part == "test" else "progan"
                files.append(ImageFile(subset, part, label, generator, key, path, category))
    return files


def _paired(roots: Roots, settings: Settings, skipped: Counter[str]) -> list[ImageFile]:
    """Folders of fakes, and folders of reals that the setting ``reals`` pairs with them.

    Real images in a generator's own folder (public copies are laid out so) are taken where no folder that it is
    paired with is there, so that none is counted twice.
    """
    files: list[ImageFile] = []
    for key, root in roots.items():
        part = key if key in PARTS else "test"
        fakes, own, shared = _sorted_by_subset(root, settings, skipped)
        for subset in sorted(fakes.keys() | own.keys()):
            files += [ImageFile(subset, part, FAKE, subset, key, path) for path in fakes.get(subset, [])]
            reals = shared.get(subset) or own.get(subset, [])
            files += [ImageFile(subset, part, REAL, "real", key, path) for path in reals]
            if subset in shared and subset in own:
                skipped[f"real images beside the fakes (under {subset}: it is paired with others)"] += len(own[subset])
    return files


Paths = dict[str, list[str]]


def _sorted_by_subset(root: Path, settings: Settings, skipped: Counter[str]) -> tuple[Paths, Paths, Paths]:
    """Paths by subset: fakes, real images in the generators' own folders, and those in folders paired with them."""
    generators, sources = _aliases(settings["folders"]), _aliases(settings["reals"])
    fakes, own, shared = Paths(), Paths(), Paths()
    for path, *_ in walk(root, skipped, settings["exclude"]):
        names = path.lower().split("/")[:-1]
        at = next((i for i, name in enumerate(names) if name in generators or name in sources), None)
        if at is None:
            skipped[f"in no folder that is named (under {path.split('/')[0] if names else 'the root'})"] += 1
            continue
        label = next((LABEL_FOLDERS[name] for name in names[at + 1 :] if name in LABEL_FOLDERS), None)
        if names[at] not in sources:
            subsets, paths = generators[names[at]], own if label == REAL else fakes
        elif label == FAKE:
            skipped[f"fake in a folder of reals (under {path.split('/')[at]})"] += 1
            continue
        else:
            subsets, paths = sources[names[at]], shared
        for subset in subsets:
            paths.setdefault(subset, []).append(path)
    return fakes, own, shared


@dataclass(frozen=True)
class Layout:
    """How a benchmark's folders are read, and the tree that an error message shows."""

    read: Callable[[Roots, Settings, Counter[str]], list[ImageFile]]
    tree: str


LAYOUTS: dict[str, Layout] = {
    "folder": Layout(_folder, FOLDER_TREE),
    "demo": Layout(_demo, DEMO_TREE),
    "photos": Layout(_photos, PHOTOS_TREE),
    "genimage": Layout(_genimage, GENIMAGE_TREE),
    "cnndetection": Layout(_cnndetection, CNNDETECTION_TREE),
    "ufd": Layout(_paired, UFD_TREE),
    "dire": Layout(_paired, DIRE_TREE),
}


def list_images(roots: Mapping[str, Path], settings: Mapping[str, Any]) -> Listing:
    """List a benchmark's images, ordered by subset, part, label, root and path.

    Names of label and part folders and suffixes are matched whatever their case. Hidden files, ``__MACOSX``,
    unknown suffixes and files at a place where the layout has no meaning for them are counted in ``skipped``.

    Args:
        roots: key → folder.
        settings: ``layout`` (a key of :data:`LAYOUTS`), ``subsets`` to keep (empty: all), ``exclude``
            (names of folders directly under a root that hold something else). Layouts of named sets read three
            more: ``folders`` (subset → names of its folders), ``reals`` (subset → folders of the reals it is
            paired with; `ufd` and `dire`) and ``parts`` (folder → part; `genimage`).

    Raises:
        UserError: unknown layout, missing root, no image found, or a subset that is not there.
    """
    layout = choose(LAYOUTS, settings["layout"], "layout")
    expected = f"Layout {settings['layout']!r} expects\n{layout.tree}"
    for key, root in roots.items():
        if not root.is_dir():
            raise UserError(f"root {key!r}: there is no folder {root}. {expected}\nGive the right path for {key!r}.")
    skipped: Counter[str] = Counter()
    files = sorted(layout.read(roots, settings, skipped))
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
