"""tellsign: four papers on detecting AI-generated images, reproduced by one command.

From Python, a trained detector is asked about pictures by two names::

    detector = tellsign.load("data/train/lol/lol-s0.682286be92c9")
    detector.predict(["a.jpg", "b.png"])  # p(fake) of each
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tellsign.prediction.predictor import Predictor as Predictor
    from tellsign.prediction.predictor import load as load

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for."""
    if name in ("Predictor", "load"):
        return getattr(importlib.import_module("tellsign.prediction.predictor"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
