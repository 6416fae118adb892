"""Which image files a raw folder holds, and digests of them, folder by folder, that outlive modification times."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellsign.data.suffixes import SUFFIXES
from tellsign.errors import choose
from tellsign.system.files import file_beside
from tellsign.system.integrity import SETTLED_NS, sha256_of_file

log = logging.getLogger(__name__)

VERSION = 1

Folder = tuple[str, str, tuple[tuple[int, int], ...]]  # path, path below the root, (device, inode) of all above
FileRecord = tuple[str, int, int, int]  # relative posix path, size, mtime_ns, ctime_ns


@dataclass(frozen=True)
class Images:
    """The images directly in one folder: how many there are, and a digest of them."""

    count: int
    digest: str


ImagesByFolder = dict[str, Images]
"""Folder below a root (posix; empty for the root itself) → its images; folders without any are left out."""


def digest_of(folders: Mapping[str, Images]) -> str:
    """One hex digest of the images of several folders, from the folders' own."""
    lines = "".join(f"{folder}\0{images.digest}\n" for folder, images in sorted(folders.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def walk(root: Path, skipped: Counter[str] | None = None, exclude: Sequence[str] = ()) -> Iterator[FileRecord]:
    """Yield every image file under ``root``; symbolic links are followed, folders in no particular order.

    Folders directly under the root whose names are in ``exclude`` are left out.

    What is passed over is counted in ``skipped`` by the reason: hidden files and folders, ``__MACOSX``
    folders (what macOS leaves in archives), unknown suffixes, broken links, and links back to a folder they
    lie in.

    Raises:
        OSError: a folder cannot be read.
    """
    for _, prefix, entries, passed_over in _folders(root, exclude):
        if skipped is not None:
            skipped.update(passed_over)
        for entry in entries:
            status = entry.stat()
            yield f"{prefix}{entry.name}", status.st_size, status.st_mtime_ns, status.st_ctime_ns


def image_folders(
    root: Path, exclude: Sequence[str] = (), elsewhere: Collection[str] = ()
) -> tuple[dict[str, int], dict[str, Counter[str]]]:
    """Every folder below ``root`` that holds images → how many; no file is looked at.

    Args:
        root: Where to look.
        exclude: Folders directly under the root that are left out.
        elsewhere: Folders below the root that are not entered, and nothing is said of them.

    Returns:
        The folders; and what is passed over, as by `walk`, by folder and reason.
    """
    held, skipped = {}, {}
    for _, prefix, entries, passed_over in _folders(root, exclude, elsewhere):
        held |= {prefix[:-1]: len(entries)} if entries else {}
        skipped |= {prefix[:-1]: passed_over} if passed_over else {}
    return held, skipped


def images_in(root: Path, folder: str) -> list[str]:
    """Paths of the images directly in a folder below ``root``, relative to that."""
    prefix = f"{folder}/" if folder else ""
    return [f"{prefix}{entry.name}" for entry in _scan(f"{root}/{folder}", prefix, Counter(), ())[0]]


def _folders(
    root: Path, exclude: Sequence[str], elsewhere: Collection[str] = ()
) -> Iterator[tuple[str, str, list[os.DirEntry[str]], Counter[str]]]:
    """Every folder below a root: its path, its path below the root with a slash, its images, what is passed over."""
    status = root.stat()
    # a folder together with the folders it lies in: one folder linked from two places is no loop
    pending: list[Folder] = [(str(root), "", ((status.st_dev, status.st_ino),))]
    while pending:
        folder, prefix, above = pending.pop()
        skipped: Counter[str] = Counter()
        files, folders = _scan(folder, prefix, skipped, exclude)
        for name, place in folders:
            if f"{prefix}{name}" in elsewhere:
                continue
            status = place.stat()
            here = (status.st_dev, status.st_ino)
            if here in above:
                skipped["link to a folder above"] += 1
            else:
                pending.append((place.path, f"{prefix}{name}/", (*above, here)))
        yield folder, prefix, files, skipped


def _scan(
    folder: str, prefix: str, skipped: Counter[str], exclude: Sequence[str]
) -> tuple[list[os.DirEntry[str]], list[tuple[str, os.DirEntry[str]]]]:
    """Image files and folders directly in one folder; ``prefix`` is its path below the root."""
    files: list[os.DirEntry[str]] = []
    folders: list[tuple[str, os.DirEntry[str]]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                skipped["hidden (name starts with a dot)"] += 1
            elif name == "__MACOSX":
                skipped["__MACOSX folder"] += 1
            elif not prefix and name in exclude:
                skipped[f"excluded folder {name}"] += 1
            elif entry.is_dir():
                folders.append((name, entry))
            elif os.path.splitext(name)[1].lower() not in SUFFIXES:  # noqa: PTH122 a Path a file costs 5 µs
                skipped[f"suffix {os.path.splitext(name)[1].lower() or '(none)'}"] += 1  # noqa: PTH122
            elif not entry.is_file():
                skipped["broken link or special file"] += 1
            else:
                files.append(entry)
    return files, folders


def _read_cache(cache_file: Path, part: str) -> dict[str, Any]:
    """One part of a cache of hashes; empty when there is no cache or it is damaged, it only saves time."""
    try:
        cache = json.loads(cache_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(cache, dict) or cache.get("version") != VERSION or not isinstance(cache.get(part), dict):
        return {}
    return cache[part]


def _write_cache(cache_file: Path, part: str, records: Mapping[str, Any]) -> None:
    with file_beside(cache_file) as beside:
        beside.write_text(json.dumps({"version": VERSION, part: records}), encoding="utf-8")


def _known(record: object, stamp: list[int]) -> str | None:
    """The hash in a cache record, if the file's size and times are still those."""
    if isinstance(record, list) and len(record) == 4 and record[:3] == stamp and isinstance(record[3], str):
        return record[3]
    return None


def contents(roots: Mapping[str, Path], cache_file: Path, exclude: Sequence[str] = ()) -> dict[str, ImagesByFolder]:
    """Digest the images under each root: for each folder, sha256 over the sorted paths and the sha256 of their bytes.

    The same files give the same digest whatever their times; a changed, added, removed or renamed image gives
    a new one. Files that no layout reads (see :func:`walk`) do not count.

    Args:
        roots: key → folder.
        cache_file: gives the hashes of files whose size, modification and change time are as before; local to
            this machine, written whole when something was hashed, rebuilt when damaged.
        exclude: folders directly under a root that are left out.

    Returns:
        Key → folders.

    Raises:
        OSError: a root is missing or cannot be read (layouts say so in the user's words).
    """
    cache = {root: files for root, files in _read_cache(cache_file, "roots").items() if isinstance(files, dict)}
    settled = time.time_ns() - SETTLED_NS
    fresh = {root: files for root, files in cache.items() if Path(root).is_dir()}
    held: dict[str, ImagesByFolder] = {}
    changed = fresh.keys() != cache.keys()
    for key, root in roots.items():
        place = str(root.resolve())
        before = cache.get(place, {})
        entries = sorted(walk(root, exclude=exclude))
        hashes = {path: _known(before.get(path), stamp) for path, *stamp in entries}
        unknown = [path for path, known in hashes.items() if known is None]
        if unknown:
            with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
                fresh_hashes = pool.map(sha256_of_file, [root / path for path in unknown])
                hashes.update(zip(unknown, fresh_hashes, strict=True))
        if unknown or hashes.keys() != before.keys():
            changed = True
            fresh[place] = {path: [*times, hashes[path]] for path, *times in entries if max(times[1:]) < settled}
        lines: dict[str, list[str]] = {}
        for path, _, _, _ in entries:
            lines.setdefault(path.rpartition("/")[0], []).append(f"{path}\0{hashes[path]}\n")
        held[key] = {folder: _images(texts) for folder, texts in lines.items()}
    if changed:
        _write_cache(cache_file, "roots", fresh)
    return held


def _images(lines: Sequence[str]) -> Images:
    """A folder's images from a line on each."""
    return Images(len(lines), hashlib.sha256("".join(lines).encode()).hexdigest())


def listings(roots: Mapping[str, Path], cache_file: Path, exclude: Sequence[str] = ()) -> dict[str, ImagesByFolder]:
    """Digest the names and sizes of the images under each root, for sets too large to be read at every start.

    A folder is listed again only when its own modification or change time differs from the cache's, so that a start
    takes one stat a folder. That time moves when an entry of the folder is added, removed or renamed. What goes
    unnoticed is a file that is overwritten in place: another size is seen at the folder's next listing, equal
    size never. Images are verified against the index when they are decoded.

    Args:
        roots: key → folder.
        cache_file: what each folder held, with its times; local to this machine, rebuilt when damaged.
        exclude: folders directly under a root that are left out.

    Returns:
        Key → folders.

    Raises:
        OSError: a root is missing or cannot be read.
    """
    cache = _read_cache(cache_file, "listings")
    fresh = {place: record for place, record in cache.items() if Path(place.partition("\0")[0]).is_dir()}
    held = {}
    for key, root in roots.items():
        place = "\0".join([str(root.resolve()), *exclude])
        before = cache.get(place)
        held[key], fresh[place] = _listed(root, before if isinstance(before, dict) else {}, exclude)
    if fresh != cache:
        _write_cache(cache_file, "listings", fresh)
    return held


def _listed(root: Path, before: Mapping[str, Any], exclude: Sequence[str]) -> tuple[ImagesByFolder, dict[str, Any]]:
    """Images of one root, and its folders' records: times, identity, count and digest of images, names of folders."""
    settled = time.time_ns() - SETTLED_NS
    after: dict[str, Any] = {}
    held: ImagesByFolder = {}
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
    while pending:
        prefix, above = pending.pop()
        folder = f"{root}/{prefix}" if prefix else str(root)
        status = os.stat(folder)  # noqa: PTH116 a Path a folder costs more than its stat
        here = (status.st_dev, status.st_ino)
        if here in above:
            continue
        stamp = [status.st_mtime_ns, status.st_ctime_ns, *here]
        record = before.get(prefix)
        if not (isinstance(record, list) and len(record) == 4 and record[0] == stamp):
            files, folders = _scan(folder, prefix, Counter(), exclude)
            images = _images(sorted(f"{prefix}{entry.name}\0{entry.stat().st_size}\n" for entry in files))
            record = [stamp, images.count, images.digest, sorted(name for name, _ in folders)]
        if max(stamp[:2]) < settled:
            after[prefix] = record
        if record[1]:
            held[prefix[:-1]] = Images(*record[1:3])
        pending += [(f"{prefix}{name}/", (*above, here)) for name in record[3]]
    return held, after


def watched_images(
    roots: Mapping[str, Path], exclude: Sequence[str], watch: str, folder: Path = Path("cache")
) -> dict[str, ImagesByFolder]:
    """The images below each root, digested as ``watch`` (contents, listing) says; ``folder`` keeps the caches."""
    chosen = choose(WATCHES, watch, "watch")
    return chosen.look(roots, folder / chosen.cache, exclude)


@dataclass(frozen=True)
class Watch:
    """How folders are digested, and the name of the cache."""

    look: Callable[[Mapping[str, Path], Path, Sequence[str]], dict[str, ImagesByFolder]]
    cache: str


WATCHES: dict[str, Watch] = {
    "contents": Watch(contents, "inventory.json"),
    "listing": Watch(listings, "listings.json"),
}


class FileDigests:
    """Hex sha256 of single files; one whose size and times are as when it was last read is not read again.

    Args:
        cache_file: Keeps what was read, under the same rules as the cache of `contents`; another file than
            that one, which can be large.
    """

    # A disk reads this much in a second or more; longer silence deserves a word.
    WORTH_A_WORD = 1_000_000_000

    def __init__(self, cache_file: Path) -> None:
        self._cache_file = cache_file
        self._records: dict[str, Any] | None = None

    def __call__(self, path: Path) -> str:
        """The sha256 of a file.

        Raises:
            OSError: it is missing or cannot be read.
        """
        if self._records is None:
            self._records = _read_cache(self._cache_file, "files")
        place, status, settled = str(path.resolve()), path.stat(), time.time_ns() - SETTLED_NS
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        known = _known(self._records.get(place), stamp)
        if known is not None:
            return known
        if status.st_size >= self.WORTH_A_WORD:
            log.warning("reading %s (%.1f GB) to verify it; this is done once", path, status.st_size / 1e9)
        digest = sha256_of_file(path)
        if max(stamp[1:]) < settled:
            kept = {other: record for other, record in self._records.items() if Path(other).is_file()}
            self._records = kept | {place: [*stamp, digest]}
            _write_cache(self._cache_file, "files", self._records)
        return digest
