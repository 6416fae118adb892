"""Which pictures a person means: files, folders, patterns, a list. Imports no torch."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tellsign.data.inventory import image_folders, images_in
from tellsign.data.kinds import JXL, RAW, VIDEO, kind_passed_over, with_kind
from tellsign.errors import UserError

LIST = "-"
"""What stands for a list on standard input, a path a line."""

PICTURES = (JXL, RAW, VIDEO)
"""Kinds that a person takes for pictures, though tellsign reads none of them."""


@dataclass
class Found:
    """What was meant.

    Attributes:
        files: Files, in the order given, those of a folder sorted; each once.
        skipped: Reason → how many files in folders are passed over; pictures of a kind that is not read are no such
            files but among ``files``, so that each is named.
    """

    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def find_pictures(words: Iterable[str], listed: Iterable[str]) -> Found:
    """The files that words on the command line stand for.

    Args:
        words: Files, folders, patterns with ``*``, ``?`` and ``**``, or ``-``.
        listed: Lines that ``-`` stands for; empty ones count for nothing.

    Raises:
        UserError: an address, or a word that stands for nothing.
    """
    found = Found()
    for word in words:
        lines = filter(None, (line.rstrip("\r\n") for line in listed)) if word == LIST else [word]
        for line in lines:
            if re.match(r"[a-z]+://", line, flags=re.I):
                raise UserError(
                    f"{line}: addresses are not fetched. A server would learn of your question, and what it sends may "
                    "be another file the next time, or a recompressed one. Save the picture and give the file."
                )
            _add(found, line, known=word == LIST)
    found.files = list(dict.fromkeys(found.files))
    return found


def _add(found: Found, word: str, *, known: bool) -> None:
    path = Path(word).expanduser()
    if path.is_dir():
        files, skipped = _in_folder(path)
        found.files += files
        found.skipped.update(skipped)
    elif path.exists() or known:  # a file of a list that is gone is told among the others
        found.files.append(path)
    elif matches := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207 a pattern may start at the root
        for match in matches:
            _add(found, match, known=True)
    else:
        raise UserError(f"{word}: there is no such file or folder, and no file matches it as a pattern.")


def _in_folder(folder: Path) -> tuple[list[Path], Counter[str]]:
    held, strays = image_folders(folder)
    files = [folder / path for below in held for path in images_in(folder, below)]
    skipped: Counter[str] = Counter()
    for below, reasons in strays.items():
        for why, count in reasons.items():
            if kind_passed_over(why) in PICTURES:
                files += _with_suffix(folder / below, why.removeprefix("suffix "))
            else:
                skipped[with_kind(why)] += count
    return sorted(files), skipped


def _with_suffix(folder: Path, suffix: str) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix.lower() == suffix and not path.name.startswith("."))
