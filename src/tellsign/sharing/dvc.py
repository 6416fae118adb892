"""Moving the artifacts that ``data.dvc`` lists between ``data/`` and a team's remote, whole.

DVC does the work: its list of a folder (a tree: path → md5), its cache, its remotes, its links. What is added here
follows from the rule that an artifact is current exactly when its file exists: one appears whole or not at all, only
after its bytes were verified.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellsign.errors import UserError
from tellsign.sharing.artifacts import DATA, damage
from tellsign.system.files import part_of

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.tree import Tree

log = logging.getLogger(__name__)

ENTRY = "data.dvc"
# Packages of DVC's remotes whose errors are of no common kind.
TRANSPORTS = ("aiobotocore", "asyncssh", "boto3", "botocore", "dvc_s3", "dvc_ssh", "s3fs", "sshfs")


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
    wanted, cache = HashInfo("md5", md5), repo.cache.local
    reason: object = "it is in no remote"
    for last in (False, True):
        place = Path(cache.oid_to_path(md5))
        if place.is_file():  # DVC takes a list as it is, and whatever it names with it
            actual = f"{md5_of_file(place)}.dir"
            if actual == md5:
                with contextlib.suppress(ObjectFormatError):
                    return Tree.load(cache, wanted)
            place.unlink()
            reason = f"its md5 is {actual}"
        if last:
            break
        try:
            repo.cloud.pull([wanted], remote=remote)
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
    entries = {}
    for key, _, digest in tree:
        path = "/".join((DATA, *key))
        if any(part in ("", ".", "..") or re.search(r"[/\\\0]", part) for part in key):
            raise UserError(f"the list of files that {ENTRY} names holds {path!r}, which leads out of {DATA}/.")
        if digest is None or not re.fullmatch("[0-9a-f]{32}", digest.value or ""):
            raise UserError(f"the list of files that {ENTRY} names gives no md5 for {path!r}.")
        entries[path] = digest.value
    return entries


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
    with modify_yaml(str(file)) as data_dvc:
        out = data_dvc["outs"][0]
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


# ------------------------------------------------------------------------------------------------ share, get


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
        actual = md5_of_file(place)
        if actual != md5:
            place.unlink()
            return f"the md5 of {path} is {actual}, {ENTRY} says {md5}"
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
