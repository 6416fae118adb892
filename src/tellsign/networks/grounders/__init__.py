"""Grounders: a phrase to the box that it names in an image."""

from __future__ import annotations

from tellsign.registry import Record, Registry

GROUNDERS = Registry(
    "grounder",
    {
        "demo": Record("tellsign.networks.grounders.demo", "demo", settings="DemoGrounder"),
        "glip": Record("tellsign.networks.grounders.glip", "glip", settings="Glip"),
        "glip-l": Record("tellsign.networks.grounders.glip", "glip", settings="Glip"),
        "glip-t": Record("tellsign.networks.grounders.glip", "glip", settings="Glip"),
    },
)
"""``grounder(settings, batch_size)`` by name, a `tellsign.networks.grounders.grounder.Grounder` on the CPU."""
