"""Every method by name: what a recipe says under ``method``."""

from __future__ import annotations

from tellsign.registry import Record, Registry

METHODS = Registry(
    "method",
    {
        "image": Record("tellsign.detectors.image", "ImageMethod"),
        "features": Record("tellsign.detectors.features", "FeatureMethod"),
    },
)
"""Classes that are a `tellsign.detectors.protocol.Method`."""
