"""Errors that a user can act on: what came, what is allowed, what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """Something the user can mend; shown without a traceback."""


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def choose(choices: Mapping[str, T], name: str, what: str) -> T:
    """Look a name up in a dict of choices.

    Raises:
        UserError: the name is unknown; the message lists the known ones and the near miss.
    """
    if name in choices:
        return choices[name]
    known = ", ".join(sorted(choices))
    raise UserError(f"unknown {what} {name!r}.{near_miss(name, choices)} Known: {known}.")
