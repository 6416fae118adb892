"""Artifacts that a team shares: what ``data.dvc`` lists, and moving them between ``data/`` and a remote, whole.

DVC does the work: its list of a folder (a tree: path → md5), its cache, its remotes, its links. What is added here
follows from the rule that an artifact is current exactly when its file exists: one appears whole or not at all, only
after its bytes were verified, and of two branches' lists an artifact is taken from one side, never mixed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tellsign.errors import UserError
from tellsign.stages.registry import FINGERPRINT, STAGES, Stage
from tellsign.system.files import part_of
from tellsign.system.integrity import MANIFEST, listed_files, matches_seal, sha256_of_file

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.tree import Tree

log = logging.getLogger(__name__)

ENTRY = "data.dvc"
DATA = "data"
# Packages of DVC's remotes whose errors are of no common kind.
TRANSPORTS = ("aiobotocore", "asyncssh", "boto3", "botocore", "dvc_s3", "dvc_ssh", "s3fs", "sshfs")
STORE = re.compile(r"data/store/[^/]+\.[0-9a-f]{12}/(?:made\.json|[0-9a-f]{20}\.parquet)")


def _pattern(stage: Stage) -> str:
    """A stage's path as a pattern; a folder's files lie below it."""
    escaped = re.escape(stage.path).replace(r"\{name\}", r"[^.][^\0]*?").replace(r"\{fp\}", FINGERPRINT)
    return rf"{escaped}(?=/|$)" if stage.folder else escaped


UNITS = re.compile("|".join(_pattern(stage) for stage in STAGES.values() if stage.path.startswith(f"{DATA}/")))


def unit_of(path: str) -> str | None:
    """The artifact that a file of ``data/`` belongs to, its path; a file of a store is one by itself.

    None for what is nobody's artifact.
    """
    if STORE.fullmatch(path):
        return path
    found = UNITS.match(path)
    whole = found is not None and (found.end() == len(path) or path[found.end()] == "/")
    return found.group() if found is not None and whole else None


def units_of(entries: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Entries (path → md5) by the artifact they belong to; other files stand alone."""
    found: dict[str, dict[str, str]] = {}
    for path, md5 in entries.items():
        found.setdefault(unit_of(path) or path, {})[path] = md5
    return found


def files_below(folder: Path) -> Iterator[str]:
    """Every file of a tree of folders that is not hidden, as ``folder/...`` with slashes."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (PurePosixPath(place, name).as_posix() for name in sorted(files) if not name.startswith("."))


# ------------------------------------------------------------------------------------------------ DVC's side


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Repo]:
    """The repository whose top is ``folder``; what DVC complains of in the block is said plainly.

    Raises:
        UserError: no repository, no remote, a lock that is held, a remote that is not to be had.
    """
    from dvc.config import NoRemoteError
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    if not (folder / ENTRY).is_file():
        raise UserError(f"there is no {ENTRY} in {folder.absolute()}. Run this in the top folder of your clone.")
    for name in ("dvc", "dvc_data", "dvc_objects"):  # what matters arrives as an error, and without a traceback
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with Repo(str(folder)) as repo:
            yield repo
    except NotDvcRepoError:
        raise UserError(f"{folder.absolute()} has no folder .dvc. Run this in the top folder of your clone.") from None
    except NoRemoteError:
        raise UserError(
            "no remote is set. Once for the team: dvc remote add --default lab URL; git commit .dvc/config. The URL is "
            "a folder, ssh://HOST/FOLDER or s3://BUCKET/FOLDER (docs/team.md)."
        ) from None
    except DvcException as problem:
        causes = [str(problem)]
        cause = problem.__cause__
        while cause is not None:
            causes.append(str(cause))
            cause = cause.__cause__
        raise UserError(f"DVC: {': '.join(dict.fromkeys(filter(None, causes)))}") from problem
    except Exception as problem:  # each kind of remote has errors of its own
        local = isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT)
        transport = isinstance(problem, (OSError, ImportError)) or type(problem).__module__.split(".")[0] in TRANSPORTS
        if local or not transport:
            raise
        reason = " ".join(str(problem).split()) or "no reason given"
        raise UserError(
            f"the remote cannot be used ({type(problem).__name__}: {reason}). `dvc remote list` says where it should "
            "be; docs/team.md says what each kind needs."
        ) from problem


def output_of(repo: Repo) -> Any:
    """DVC's output ``data``, as ``data.dvc`` stands."""
    return repo.stage.load_one(str(Path(repo.root_dir) / ENTRY)).outs[0]


def tree_of(repo: Repo, md5: str | None, whose: str, remote: str | None = None) -> Tree:
    """A list of files by its md5 (``….dir``), from the cache or the remote; an empty one for None.

    Raises:
        UserError: neither has it, or what they have has another md5.
    """
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    if md5 is None:
        return Tree()
    held, cache = HashInfo("md5", md5), repo.cache.local
    reason: object = "it is in no remote"
    for last in (False, True):
        place = Path(cache.oid_to_path(md5))
        if place.is_file():  # DVC takes a list as it is, and whatever it names with it
            found = f"{md5_of_file(place)}.dir"
            if found == md5:
                with contextlib.suppress(ObjectFormatError):
                    return Tree.load(cache, held)
            place.unlink()
            reason = f"its md5 is {found}"
        if last:
            break
        try:
            repo.cloud.pull([held], remote=remote)
        except (DvcException, OSError) as problem:
            reason = problem
    raise UserError(
        f"the list of files {md5} that {whose} names is not to be had ({reason}). Is the remote there (`dvc remote "
        "list`)? If it is, whoever committed the list runs `tellsign share`; a list of wrong bytes has to be deleted "
        f"in the remote first (files/md5/{md5[:2]}/{md5[2:]})."
    )


def entries_of(tree: Tree) -> dict[str, str]:
    """Path (``data/...``) → md5 of a list.

    Raises:
        UserError: a path leads out of ``data/``, or a digest is none; lists come from other people's machines.
    """
    found = {}
    for key, _, held in tree:
        path = "/".join((DATA, *key))
        if any(part in ("", ".", "..") or re.search(r"[/\\\0]", part) for part in key):
            raise UserError(f"the list of files that {ENTRY} names holds {path!r}, which leads out of {DATA}/.")
        if held is None or not re.fullmatch("[0-9a-f]{32}", held.value or ""):
            raise UserError(f"the list of files that {ENTRY} names gives no md5 for {path!r}.")
        found[path] = held.value
    return found


def write_list(repo: Repo, entries: Mapping[str, str], file: Path) -> None:
    """Put a list of files into the cache, and its md5 into ``file``, which is ``data.dvc`` or a version of it."""
    from dvc.utils.serialize import modify_yaml
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()
    for path, md5 in entries.items():
        tree.add(tuple(path.split("/")[1:]), None, HashInfo("md5", md5))
    tree.digest()
    assert tree.hash_info is not None
    repo.cache.local.add(tree.path, tree.fs, tree.oid)
    with modify_yaml(str(file)) as held:
        out = held["outs"][0]
        out.pop("size", None)
        out.pop("md5", None)
        out.pop("nfiles", None)
        if entries:
            out.update({"md5": tree.hash_info.value, "nfiles": len(entries)})


# ------------------------------------------------------------------------------------------------ verification


def md5_of_file(path: Path) -> str:
    """Hex md5 of a file's bytes, which is how DVC names them; against accidents, not against malice."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def damage(unit: str, files: Iterable[str], place: Callable[[str], Path]) -> str | None:
    """What contradicts the seal of an artifact; None when nothing does.

    A Parquet file holds the sha256 of its own bytes, a folder the list of its files' (`tellsign.system`); a store's
    shard is named by the beginning of its sha256 instead.

    Args:
        unit: The artifact's path.
        files: Paths of its files.
        place: Where the bytes of a path are.
    """
    if STORE.fullmatch(unit) and unit.endswith(".parquet"):
        found, name = sha256_of_file(place(unit)), PurePosixPath(unit).stem
        return None if found.startswith(name) else f"its sha256 begins {found[:20]}, its name says {name}"
    if unit.endswith(".parquet"):
        return None if matches_seal(place(unit).read_bytes()) else "its sha256 is not the one in its footer"
    held = set(files)
    if held == {unit}:  # a page, or what begins a store
        return None
    note = f"{unit}/{MANIFEST}"
    if note not in held:
        return f"it has no {MANIFEST}"
    listed = listed_files(place(note).read_text(encoding="utf-8", errors="replace"))
    for name in sorted({path.removeprefix(f"{unit}/") for path in held - {note}} | listed.keys()):
        if name not in listed:
            return f"its {MANIFEST} does not name {name}"
        if f"{unit}/{name}" not in held:
            return f"its {MANIFEST} names {name}, which is missing"
        found = sha256_of_file(place(f"{unit}/{name}"))
        if found != listed[name]:
            return f"the sha256 of {name} is {found}, {MANIFEST} says {listed[name]}"
    return None


# ------------------------------------------------------------------------------------------------ share, get


def covering(new: Iterable[str], others: Iterable[str]) -> list[str]:
    """The highest folders, below the stages' at most, that hold new artifacts and nothing else.

    DVC takes as long for a folder as for a file, and lists again all that a folder holds.

    Args:
        new: Paths of artifacts.
        others: Files that must not come along.
    """
    mixed = {DATA} | {parent.as_posix() for path in others for parent in PurePosixPath(path).parents}
    found = {}
    for path in new:
        top = PurePosixPath(path)
        while top.parent.as_posix() not in mixed:
            top = top.parent
        found[top.as_posix()] = None
    return sorted(found)


def fetch_whole(
    repo: Repo, units: Mapping[str, Mapping[str, str]], remote: str | None
) -> tuple[list[str], dict[str, str]]:
    """Bring artifacts into the cache and verify every byte there.

    Args:
        repo: The repository.
        units: Path of an artifact → its files' paths → md5, as listed.
        remote: Name of the remote; None for the default.

    Returns:
        The artifacts whose bytes are what the list and their seals say; and of the others, what is wrong. Wrong bytes
        are removed from the cache, so that they are fetched anew.
    """
    from dvc.exceptions import DownloadError

    if not units:  # for DVC no targets are all
        return [], {}
    cache = repo.cache.local
    good: list[str] = []
    todo = dict(units)
    wrong: dict[str, str] = {}
    for _ in range(2):  # bytes that were damaged in the cache may be whole in the remote
        try:
            repo.fetch(targets=sorted(todo), remote=remote)
        except DownloadError:
            log.warning("not everything could be fetched")
        wrong = {}
        for unit, files in todo.items():
            problem = _damage_in_cache(cache, unit, files)
            if problem is None:
                good.append(unit)
            else:
                wrong[unit] = problem
        todo = {unit: units[unit] for unit in wrong}
        if not todo:
            break
    return good, wrong


def _damage_in_cache(cache: Any, unit: str, files: Mapping[str, str]) -> str | None:
    for path, md5 in files.items():
        place = Path(cache.oid_to_path(md5))
        if not place.is_file():
            return f"{path} ({md5}) is not in the remote"
        found = md5_of_file(place)
        if found != md5:
            place.unlink()
            return f"the md5 of {path} is {found}, {ENTRY} says {md5}"
    return damage(unit, files, lambda path: Path(cache.oid_to_path(files[path])))


def push_all(repo: Repo, remote: str | None) -> int:
    """Push the list that ``data.dvc`` names, and all on it that the remote lacks; return how many files that were.

    DVC takes all files of a list for pushed once the list is, and remembers so: what a remote lost it would never push
    again. Nor does it push the list to a second remote.

    Args:
        repo: The repository, whose cache has what was made here.
        remote: Name of the remote; None for the default.
    """
    from dvc_data.hashfile.db import get_index
    from dvc_data.hashfile.hash_info import HashInfo

    transferred = repo.push(remote=remote)
    there = repo.cloud.get_remote_odb(remote, "push")
    whole = output_of(repo).hash_info.value
    listed = set(entries_of(tree_of(repo, whole, ENTRY, remote)).values()) | ({whole} if whole else set())
    lost = listed - set(there.oids_exist(sorted(listed)))
    ours = {md5 for md5 in lost if Path(repo.cache.local.oid_to_path(md5)).is_file()}
    if ours:
        get_index(there).clear()
        transferred += len(repo.cloud.push([HashInfo("md5", md5) for md5 in sorted(ours)], remote=remote).transferred)
    if lost - ours:
        log.warning("%d listed files are neither in the remote nor here: who has them runs share", len(lost - ours))
    return transferred


def place_whole(repo: Repo, tree: Tree, unit: str) -> None:
    """Put a verified artifact into ``data/`` from the cache, whole or not at all, by the links that DVC is set to.

    Raises:
        UserError: the file system has none of these links.
    """
    from dvc_data.hashfile.checkout import CheckoutError, LinkError, checkout

    out = output_of(repo)
    path = Path(repo.root_dir, unit)
    key: Any = tuple(unit.split("/")[1:])
    obj = tree.get_obj(repo.cache.local, key)
    assert obj is not None
    part = part_of(path)
    try:
        checkout(str(part), out.fs, obj, repo.cache.local, force=True, state=repo.state, quiet=True)
        remove(path)
        part.rename(path)
    except (CheckoutError, LinkError) as problem:
        kinds = ", ".join(repo.cache.local.cache_types)
        raise UserError(f"{unit} cannot be linked to the cache by {kinds} ({problem}): dvc config cache.type") from None
    finally:
        remove(part)


def remove(path: Path) -> None:
    """Delete a file, a folder with all that is in it, or a link and not what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------ two branches


def merged(
    ancestor: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The list of both branches' artifacts, and the artifacts that both made.

    An artifact that one branch added, or dropped, since their ancestor is in, or out. Where both made one, their
    recipes are equal and either is right: ours is kept, whole, since the seal of one side does not fit the other's
    bytes. One that was dropped on one side and made anew on the other stays.
    """
    sides = [units_of(ancestor), units_of(ours), units_of(theirs)]
    found: dict[str, str] = {}
    both = []
    for unit in dict.fromkeys(unit for side in sides for unit in side):
        before, our, their = (side.get(unit) for side in sides)
        if our == their or their == before:
            taken = our
        elif our == before:
            taken = their
        else:
            taken = our or their
            if our and their:
                both.append(unit)
        found |= taken or {}
    return found, both
