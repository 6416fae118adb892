"""Layouts of benchmarks: which files below a root are images of which subset, part and label."""

from __future__ import annotations

from tellsign.registry import Record, Registry

LAYOUTS = Registry(
    "layout",
    {
        "folder": Record("tellsign.data.layouts.folder", "FOLDER"),
        "demo": Record("tellsign.data.layouts.demo", "DEMO"),
        "photos": Record("tellsign.data.layouts.photos", "PHOTOS"),
        "genimage": Record("tellsign.data.layouts.genimage", "GENIMAGE"),
        "cnndetection": Record("tellsign.data.layouts.cnndetection", "CNNDETECTION"),
        "ufd": Record("tellsign.data.layouts.paired", "UFD"),
        "dire": Record("tellsign.data.layouts.paired", "DIRE"),
    },
)
"""A `tellsign.data.layouts.base.Layout` by name."""
