"""Pre-trained weights: which there are, where they lie, and whether they are what they should be.

``config/weights.yaml`` says where each is published. The files lie in ``weights/NAME``, in the cache of the hub's
client, or wherever a recipe's path points. What the catalogue gives no sha256 for is recorded in ``weights/lock.json``
when it is first seen, and verified against it from then on. Plain Python: a dry run needs this module.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tellsign.errors import UserError, near_miss
from tellsign.networks.catalogue import CATALOGUE, Catalogue
from tellsign.networks.hub import COMMIT, NLTK_COMMAND, cached_snapshot, fetched_commit, nltk_folders
from tellsign.networks.layouts import check_tensors, check_weights
from tellsign.schema.weights import NLTK, MissingWeightsError, ResolvedWeights, WeightsEntry
from tellsign.system.files import write_text
from tellsign.system.integrity import git_blob
from tellsign.system.locks import exclusive_lock

FOLDER = "TELLSIGN_WEIGHTS"  # the environment variable that names the folder
SHIPPED = Path(__file__).parent.parent / "demo" / "weights" / "weights.json"
VERSION = 1

# A value that ends like this and is no name of the catalogue was meant as a path.
FILE_SUFFIXES = frozenset([".safetensors", ".pt", ".pth", ".bin", ".ckpt"])

# What the lock records of an entry: source, revision, and the sha256 and bytes of each file
Locked = dict[str, Any]


class WeightsCatalogue:
    """The catalogue, and the folder in which its weights lie.

    Args:
        catalogue: Its entries, such as `Catalogue`.
        folder: Holds a folder for each entry, and ``lock.json``.
        file_digest: Gives the sha256 of a file, `tellsign.data.inventory.FileDigests` or `sha256_of_file`.
        home: Where relative paths in a configuration start.
    """

    def __init__(
        self, catalogue: Mapping[str, WeightsEntry], folder: Path, file_digest: Callable[[Path], str], home: Path
    ) -> None:
        self.entries, self.folder = catalogue, folder
        self._file_digest, self._home = file_digest, home

    # ------------------------------------------------------------------------------------------ what is asked

    def find(self, value: str, network: str | None = None) -> ResolvedWeights:
        """The weights that a configuration's value means.

        Args:
            value: ``shipped``, ``none``, a name of the catalogue, a path, or `NLTK`.
            network: The network that starts from them; None when nobody knows, and any weights will do.

        Raises:
            MissingWeightsError: they are not there; says how to get them.
            UserError: a misspelt name, files that are not what they should be, or that the network does not take.
        """
        resolved = self._resolve(value)
        if network is not None and value not in ("none", "shipped", NLTK):
            check_weights(network, Path(resolved.path), resolved.digest)
        return resolved

    def _resolve(self, value: str) -> ResolvedWeights:
        if value == "none":
            return ResolvedWeights("none", "none")
        if value == "shipped":
            return ResolvedWeights("shipped", self._file_digest(SHIPPED))
        if value in self.entries:
            return self._find_entry(value)
        if value == NLTK:
            return self._find_nltk()
        path = self._home / Path(value).expanduser()
        if path.is_file():
            return ResolvedWeights(str(path), self._file_digest(path))
        if path.is_dir():
            return ResolvedWeights(str(path), self._folder_digest(path))
        if not re.search(r"[/\\~]", value) and path.suffix not in FILE_SUFFIXES:
            known = ", ".join(sorted(self.entries))
            raise UserError(
                f"weights {value!r}: no such name in {CATALOGUE}, and no such path.{near_miss(value, self.entries)} "
                f"Known: {known}, shipped (demo networks), none (random), or the path of a file or folder."
            )
        advice = (
            f"Put the file or folder there, or set weights to its path, to a name of {CATALOGUE} "
            "(`tellsign weights --all` lists them), to none (random) or, for demo networks, to shipped."
        )
        raise MissingWeightsError(value, f"there is no {path}", advice)

    def _find_nltk(self) -> ResolvedWeights:
        folders = nltk_folders()
        missing = [package for package, folder in folders.items() if folder is None]
        if missing:
            how = (
                f"{NLTK_COMMAND}\n(without a network: copy the folder nltk_data from another machine; docs/weights.md)"
            )
            raise MissingWeightsError(NLTK, f"lacks {' and '.join(missing)}", how)
        return ResolvedWeights(
            NLTK, digest_of({p: self._folder_digest(f) for p, f in folders.items() if f is not None})
        )

    def require(self, needed: Mapping[str, Sequence[str]]) -> dict[str, ResolvedWeights]:
        """Find all weights that a configuration needs.

        Args:
            needed: Value of ``weights:`` → the places that use it.

        Raises:
            UserError: names everything that is missing or wrong, at once.
        """
        resolved: dict[str, ResolvedWeights] = {}
        missing: list[MissingWeightsError] = []
        problems: list[str] = []
        for value, places in needed.items():
            try:
                resolved[value] = self.find(value)
            except MissingWeightsError as problem:
                missing.append(problem)
            except UserError as problem:
                problems.append(f"{problem}\n  Used by {', '.join(places)}.")
        if missing:
            problems.append(shopping_list(missing, needed))
        if problems:
            raise UserError("\n\n".join(problems))
        return resolved

    # ------------------------------------------------------------------------------------------ entries

    def lock(self) -> dict[str, Locked]:
        """What is recorded of weights that were seen before: name → source, revision, files.

        Raises:
            UserError: the file is damaged.
        """
        path = self.folder / "lock.json"
        if not path.is_file():
            return {}
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["version"] != VERSION:
                raise ValueError(f"version {stored['version']}")
            return {name: {**locked, "files": dict(locked["files"])} for name, locked in stored["weights"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise UserError(
                f"{path} is damaged ({problem!r}). Bring it back from a copy, or delete it: the files are then "
                "recorded anew, as they are."
            ) from None

    def revision(self, name: str) -> str:
        """The revision that is meant: the catalogue's commit, or the one that was recorded for its ``main``."""
        entry = self.entries[name]
        locked = self.lock().get(name, {})
        return (locked.get("revision") or "main") if entry.revision == "main" else entry.revision

    def missing_files(self, name: str, root: Path) -> list[str]:
        """Files of an entry that ``root`` lacks: plain names, those of known digest, shards that an index names."""
        entry = self.entries[name]
        have = set(entry_files(entry, root))
        wanted = {*entry.names, *entry.sha256, *self.lock().get(name, {}).get("files", {})}
        for index in have:
            if index.endswith(".safetensors.index.json"):
                wanted |= shards(root / index)
        return sorted(wanted - have)

    def _place(self, name: str) -> Path:
        """The folder in which an entry lies: our own, or the hub client's when only that is whole."""
        entry, own = self.entries[name], self.folder / name
        if entry.repository is not None and self.missing_files(name, own):
            cached = cached_snapshot(entry.repository, self.revision(name))
            if cached is not None and not self.missing_files(name, cached):
                return cached
        return own

    def _find_entry(self, name: str) -> ResolvedWeights:
        entry, root = self.entries[name], self._place(name)
        missing = self.missing_files(name, root)
        if missing:
            some = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            state = f"incomplete, lacks {some}" if entry_files(entry, root) else "missing"
            raise MissingWeightsError(name, state, self.command(name), entry)
        locked = self.lock().get(name)
        digests = {file: self._file_digest(root / file) for file in entry_files(entry, root)}
        self._verify(name, root, digests, locked)
        if entry.tensors:
            check_tensors(root / entry.files[0], entry.tensors, name)
        if locked is None:
            self._record(name, root, digests)
        digest = next(iter(digests.values())) if entry.single else digest_of(digests)
        confirmed = locked is not None or digests.keys() == entry.sha256.keys()
        return ResolvedWeights(str(root / entry.files[0] if entry.single else root), digest, recorded=not confirmed)

    def _verify(self, name: str, root: Path, digests: Mapping[str, str], locked: Locked | None) -> None:
        """Raise a UserError when files are not those of the catalogue or, where it gives no digest, of the lock."""
        entry, lock = self.entries[name], self.folder / "lock.json"
        recorded = locked["files"] if locked else {}
        forget = f"delete the entry {name!r} from {lock}"
        again = f"tellsign weights --only {name} --fetch"
        commit = locked.get("revision") if locked else None
        if commit and COMMIT.fullmatch(entry.revision) and commit != entry.revision:
            raise UserError(
                f"weights {name!r}: {lock} records revision {commit}, but {CATALOGUE} wants {entry.revision}. For that "
                f"one {forget}, then:\n  rm -rf {shlex.quote(str(self.folder / name))} && {again}"
            )
        if entry.blob and locked is None and (found := git_blob(root / entry.files[0])) != entry.blob:
            raise UserError(
                f"weights {name!r}: {root / entry.files[0]} is not the released file: git's id of it is {found}, "
                f"{entry.page} has {entry.blob}. Remove it, then: {again}"
            )
        for file, digest in digests.items():
            path = root / file
            source = CATALOGUE if file in entry.sha256 else lock
            expected = entry.sha256.get(file) or recorded.get(file, {}).get("sha256")
            if expected is None and locked is not None:
                raise UserError(
                    f"weights {name!r}: {path} was not there when {lock} was written. Remove it or, if it belongs "
                    f"there, {forget}."
                )
            if expected not in (None, digest):
                raise UserError(
                    f"weights {name!r}: {path} is not the file it should be.\n  expected sha256 {expected} ({source})\n"
                    f"  found    sha256 {digest}\nTo restore it:\n  rm {shlex.quote(str(path))} && {again}"
                    + (f"\nIf the change is meant, {forget}." if source is lock else "")
                )

    def _record(self, name: str, root: Path, digests: Mapping[str, str]) -> None:
        """Note in the lock what lies in ``root``; a folder that we may not write (a team's) is left as it is."""
        entry, path = self.entries[name], self.folder / "lock.json"
        ancestor = next(above for above in (self.folder, *self.folder.absolute().parents) if above.is_dir())
        if not os.access(ancestor, os.W_OK):
            return
        revision = root.name if COMMIT.fullmatch(root.name) else fetched_commit(root, next(iter(digests)))
        files = {file: {"sha256": d, "bytes": (root / file).stat().st_size} for file, d in digests.items()}
        made = {"source": entry.repository or entry.url, "revision": revision, "files": files}
        with exclusive_lock(path):
            recorded = self.lock()  # another process may have written since
            if name not in recorded:
                stored = {"version": VERSION, "weights": dict(sorted((recorded | {name: made}).items()))}
                write_text(path, json.dumps(stored, indent=2) + "\n")

    def _folder_digest(self, root: Path) -> str:
        files = visible_files(root)
        if not files:
            raise UserError(f"weights {str(root)!r}: the folder holds no files.")
        return digest_of({file: self._file_digest(root / file) for file in files})

    # ------------------------------------------------------------------------------------------ how to get them

    def command(self, name: str) -> str:
        """The command that fetches an entry without us, over several lines."""
        entry, target = self.entries[name], shlex.quote(str(self.folder / name))
        path = shlex.quote(str(self.folder / name / entry.files[0]))
        if entry.get:
            return f"get it by hand ({entry.get})\nand put it to {path}"
        if entry.repository is None:
            return f"curl --location --fail --create-dirs --output {path} \\\n    {shlex.quote(str(entry.url))}"
        plain = len(entry.names) == len(entry.files)
        words = [file if plain else f"--include {shlex.quote(file)}" for file in entry.files]
        words += [f"--revision {self.revision(name)}", f"--local-dir {target}"]
        return " \\\n    ".join(_wrapped([f"hf download {entry.repository}", *words]))


def open_catalogue(home: Path, file_digest: Callable[[Path], str]) -> WeightsCatalogue:
    """The catalogue of the project in ``home``, kept in ``weights/`` of the working folder unless the environment says
    otherwise.
    """
    folder = Path(os.environ.get(FOLDER) or "weights").expanduser()
    return WeightsCatalogue(Catalogue(home), folder, file_digest, home)


def shopping_list(missing: Sequence[MissingWeightsError], needed: Mapping[str, Sequence[str]]) -> str:
    """What is missing, who needs it, and exactly how to get it: all that is published, or one by one.

    Args:
        missing: What is missing.
        needed: Value of ``weights:`` → the places that use it.
    """
    known = [problem.entry for problem in missing if problem.entry is not None and not problem.entry.get]
    lines = [f"{len(missing)} of these weights {'is' if len(missing) == 1 else 'are'} missing."]
    by_hand = [problem.value for problem in missing if problem.entry is not None and problem.entry.get]
    published = [problem.value for problem in missing if problem.entry is not None or problem.value == NLTK]
    fetched = [value for value in published if value not in by_hand]
    if fetched:
        size = total_size(known)
        command = f"tellsign weights --only {' '.join(fetched)} --fetch"
        lines += [f"To fetch what is published ({size}):", f"    {command}", "or one by one:"]
    for problem in missing:
        entry = problem.entry
        size = f"{size_of(entry.megabytes)}, " if entry and entry.megabytes else ""
        lines += ["", f"  {problem.value}" + (f" ({size}{entry.page})" if entry else "")]
        lines += [f"  {problem.state}; used by {shortened(needed[problem.value], 70)}"]
        lines += [f"    {line}" for line in problem.how.splitlines()]
    return "\n".join(lines)


def size_of(megabytes: float | None) -> str:
    """A size for people; a dash where nobody states it."""
    if megabytes is None:
        return "–"
    if megabytes < 1:
        return f"{1000 * megabytes:.0f} kB"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def total_size(entries: Iterable[WeightsEntry]) -> str:
    """The size of several entries, as far as it is stated."""
    sizes = [entry.megabytes for entry in entries]
    stated = [size for size in sizes if size is not None]
    unknown = [f"{sizes.count(None)} of unknown size"] if None in sizes else []
    return " and ".join([*([size_of(sum(stated))] if stated else []), *unknown])


def shortened(places: Sequence[str], width: int) -> str:
    """As many places as fit into ``width`` characters, at least one, and how many more there are."""
    places = list(dict.fromkeys(places))
    for count in range(len(places), 0, -1):
        more = len(places) - count
        text = ", ".join(places[:count]) + (f" +{more}" if more else "")
        if len(text) <= width or count == 1:
            return text
    return "–"


def visible_files(root: Path) -> list[str]:
    """Files under a folder, relative, posix, sorted; hidden ones and linked folders are left out."""
    visible: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        place = Path(folder)
        paths = [place / name for name in files if not name.startswith(".")]
        visible += [path.relative_to(root).as_posix() for path in paths if path.is_file()]
    return sorted(visible)


def entry_files(entry: WeightsEntry, root: Path) -> list[str]:
    """Files under a folder that belong to an entry."""
    return [file for file in visible_files(root) if entry.matches(file)]


def shards(index: Path) -> set[str]:
    """Files that the index of sharded safetensors names.

    Raises:
        UserError: it is no such index.
    """
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{index} is damaged: it is no index of safetensors. Remove it and fetch it again.") from None


def digest_of(digests: Mapping[str, str]) -> str:
    """One hex digest over names and their files' sha256."""
    lines = "".join(f"{file}\0{digest}\n" for file, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _wrapped(words: Iterable[str], width: int = 86) -> list[str]:
    """Words in lines of at most ``width`` characters."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
