"""What is asked of huggingface.co and other publishers, and where their client keeps what it fetched before.

The client is imported where it is used: most starts of the pipeline need none of it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tellsign.errors import UserError
from tellsign.system.files import file_beside

# What NLTK's tokenizer and tagger for English read; the last part of a package's name is what its downloader takes.
NLTK_PACKAGES = {"tokenizers/punkt_tab": "english", "taggers/averaged_perceptron_tagger_eng": ""}
NLTK_COMMAND = "python -m nltk.downloader " + " ".join(package.rpartition("/")[2] for package in NLTK_PACKAGES)

COMMIT = re.compile(r"[0-9a-f]{40}")


def cached_snapshot(repository: str, revision: str) -> Path | None:
    """Folder in which the client's cache (``HF_HOME``) keeps a revision of a repository, whole or in part.

    The layout is the documented one: ``models--OWNER--NAME/snapshots/COMMIT``, branches in ``refs``.
    """
    from huggingface_hub import constants  # of the whole client, this part takes 20 ms

    home = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    reference = home / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    snapshot = home / "snapshots" / commit
    return snapshot if COMMIT.fullmatch(commit) and snapshot.is_dir() else None


def fetched_commit(folder: Path, file: str) -> str | None:
    """The commit that the client noted when it put ``file`` into ``folder``; None when it did not."""
    note = folder / ".cache" / "huggingface" / "download" / f"{file}.metadata"
    commit = note.read_text(encoding="utf-8").partition("\n")[0].strip() if note.is_file() else ""
    return commit if COMMIT.fullmatch(commit) else None


def fetch_snapshot(repository: str, revision: str, files: Sequence[str], folder: Path) -> None:
    """Fetch files of a repository into ``folder``, each beside its place and renamed when whole.

    Files that are there already are kept.

    Raises:
        UserError: no network, no such repository or revision, no access, a broken transfer.
    """
    from huggingface_hub import HfApi, errors, snapshot_download

    transport = errors.HTTPError  # pyright: ignore[reportPrivateImportUsage] of whichever HTTP library the client has

    what = f"{repository} at {revision}"
    sweep(folder)
    try:
        commit = HfApi().model_info(repository, revision=revision).sha or revision
        snapshot_download(repository, revision=commit, allow_patterns=list(files), local_dir=folder)
    except errors.OfflineModeIsEnabled:
        raise UserError(
            f"{what} cannot be fetched: HF_HUB_OFFLINE is set. Unset it, or copy the files into {folder} yourself."
        ) from None
    except errors.GatedRepoError:
        raise UserError(
            f"{what} wants you to accept its terms: do so on https://huggingface.co/{repository}, then `hf auth login`."
        ) from None
    except transport as problem:
        raise _failed(what, folder, problem) from None
    except OSError as problem:
        if problem.errno is not None:  # a full disk and the like, not the network
            raise
        raise _failed(what, folder, problem) from None


def sweep(folder: Path, idle: float = 3600.0) -> None:
    """Remove what killed transfers left: the client never takes them up again, and they can hold gigabytes.

    Args:
        folder: Where files were being fetched to.
        idle: Those written to in the last ``idle`` seconds may belong to a transfer that is alive.
    """
    for part in (folder / ".cache" / "huggingface" / "download").glob("**/*.incomplete"):
        if time.time() - part.stat().st_mtime > idle:
            part.unlink(missing_ok=True)


def fetch_url(url: str, path: Path) -> None:
    """Fetch one file to ``path``, beside its place and renamed when whole.

    Raises:
        UserError: no network, no such file.
    """
    import http.client
    import urllib.request

    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise UserError(
            f"{url} cannot be fetched: HF_HUB_OFFLINE is set. Unset it, or copy the file to {path} yourself."
        )
    with file_beside(path) as part, part.open("wb") as stream:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                shutil.copyfileobj(answer, stream, 1 << 20)
                announced = int(answer.headers.get("Content-Length") or stream.tell())
                if stream.tell() != announced:
                    raise OSError(f"{stream.tell():,} of {announced:,} bytes came")
        except (OSError, http.client.HTTPException) as problem:
            raise _failed(url, path, problem) from None


def _failed(what: str, place: Path, problem: Exception) -> UserError:
    reason = str(problem).partition("\n")[0] or type(problem).__name__
    return UserError(
        f"{what} cannot be fetched: {reason}\nIs the network there (HTTPS_PROXY, HF_ENDPOINT)? Run the same command "
        f"again, whole files are kept; or fetch the files elsewhere and copy them to {place}."
    )


def nltk_folders() -> dict[str, Path | None]:
    """Where NLTK will find each of its packages that phrases need; None where it will not.

    The places and their order are NLTK's (``nltk.data``), which is not asked because importing it takes seconds.
    """
    named = [Path(folder) for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder]
    prefixes = [Path(sys.prefix) / below for below in ("", "share", "lib")]
    system = [Path(folder) for folder in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")]
    places = [*named, *(folder / "nltk_data" for folder in (Path("~").expanduser(), *prefixes, *system))]
    return {
        package: next((place / package / part for place in places if (place / package / part).is_dir()), None)
        for package, part in NLTK_PACKAGES.items()
    }


def fetch_nltk() -> None:
    """Download the packages to where NLTK puts them by itself.

    Raises:
        UserError: they cannot be had.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise UserError(f"NLTK's data cannot be fetched: HF_HUB_OFFLINE is set. Unset it, or run `{NLTK_COMMAND}`.")
    import nltk

    for package in NLTK_PACKAGES:
        if not nltk.download(package.rpartition("/")[2], quiet=True):
            raise UserError(
                f"NLTK could not download {package}. Is there a network? Else run `{NLTK_COMMAND}` on another machine, "
                "copy its folder nltk_data here, and set NLTK_DATA to it."
            )
