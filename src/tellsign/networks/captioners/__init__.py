"""Captioners: images to one sentence each."""

from __future__ import annotations

from tellsign.registry import Record, Registry

CAPTIONERS = Registry(
    "captioner",
    {
        "demo": Record("tellsign.networks.captioners.demo", "demo", settings="DemoCaptioner"),
        "blip2": Record("tellsign.networks.captioners.transformers", "from_transformers", settings="VisionLanguage"),
        "blip": Record("tellsign.networks.captioners.transformers", "from_transformers", settings="VisionLanguage"),
        "llava": Record("tellsign.networks.captioners.transformers", "from_transformers", settings="VisionLanguage"),
    },
)
"""``captioner(settings, batch_size)`` by name, a `tellsign.networks.captioners.captioner.Captioner` on the CPU."""
