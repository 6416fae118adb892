"""Augmentations of whole training images, before a crop is cut out: each gives the crops of one epoch.

All draws come from the CPU generator that is passed in, so neither threads nor how far they run ahead of the training
changes anything.
"""

from __future__ import annotations

from tellsign.registry import Record, Registry

AUGMENTATIONS = Registry(
    "augmentation",
    {
        "none": Record("tellsign.data.augmentations.none", "none", settings="NoAugment"),
        "blur_jpeg": Record("tellsign.data.augmentations.blur_jpeg", "blur_jpeg", settings="BlurJpeg"),
        "blur_jpeg_of": Record("tellsign.data.augmentations.blur_jpeg_of", "blur_jpeg_of", settings="BlurJpegOf"),
    },
)
"""``augmentation(table, batches, size, generator, workers, **settings)`` by name: an iterator of batches of crops."""
