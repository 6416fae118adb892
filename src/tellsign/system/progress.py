"""What a job says while it works."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


_speaking: list[str] = []


def progress(items: Iterable[T], total: int, what: str, every: float = 10.0) -> Iterator[T]:
    """Yield ``items`` and log ``what: done/total, rate`` every ``every`` seconds and at the end.

    One that runs inside another's loop says nothing: the outer one tells how far the whole is.
    """
    if _speaking:
        yield from items
        return
    _speaking.append(what)
    try:
        yield from _spoken(items, total, what, every)
    finally:
        _speaking.remove(what)


def _spoken(items: Iterable[T], total: int, what: str, every: float) -> Iterator[T]:
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= every:
            rate = done / (now - start)
            log.info("%s: %d/%d, %.1f/s, %.0f s left", what, done, total, rate, (total - done) / rate)
            last = now
    seconds = time.monotonic() - start
    log.info("%s: %d/%d in %.1f s", what, done, total, seconds)


def log_to_stderr() -> None:
    """Send log lines to standard error, where the rules' log files collect them."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
