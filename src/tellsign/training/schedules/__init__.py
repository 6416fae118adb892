"""Schedules of the learning rate by whole epochs."""

from __future__ import annotations

from tellsign.registry import Record, Registry

SCHEDULES = Registry(
    "schedule",
    {
        "step": Record("tellsign.training.schedules.step", "step", settings="StepSchedule"),
        "constant": Record("tellsign.training.schedules.constant", "constant", settings="ConstantSchedule"),
        "cosine_waves": Record(
            "tellsign.training.schedules.cosine_waves", "cosine_waves", settings="CosineWavesSchedule"
        ),
        "cosine": Record("tellsign.training.schedules.cosine", "cosine", settings="CosineSchedule"),
    },
)
"""``rate(lr, epoch, epochs, **settings)`` by kind: the learning rate of an epoch (0-based)."""
