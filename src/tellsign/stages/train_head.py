"""Train a run at one seed, by a method that needs no GPU: the same as train, by a rule with fewer resources.

Reads, writes and resumes as `tellsign.stages.train`.
"""

from __future__ import annotations

from tellsign.stages.train import main

__all__ = ["main"]
