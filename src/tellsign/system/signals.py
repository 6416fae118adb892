"""What a process still does when it is told to end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def before_sigterm(work: Callable[[], None]) -> Iterator[None]:
    """Within the block SIGTERM ends the process as it would have, but after ``work``; a second one changes nothing.

    Python calls ``work`` in the main thread, between two of its instructions. Only that thread may ask for this: from
    another one the block does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL  # None: set by something other than Python

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        try:
            work()
        finally:
            signal.signal(number, before)
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
