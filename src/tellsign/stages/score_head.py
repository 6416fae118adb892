"""Score test sets with all checkpoints of a run whose method needs no GPU: score, by a rule with fewer resources.

Reads and writes as `tellsign.stages.score`.
"""

from __future__ import annotations

from tellsign.stages.score import main

__all__ = ["main"]
