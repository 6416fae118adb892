"""Time of one call, for the benchmarks beside this file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Least CPU seconds of one call."""
    best = math.inf
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best
