"""Masks that hide part of a training image: texture-aware (MPFT), random box (LoL), and MPFT's rivals.

Every mask is a function of a batch of preprocessed (normalised) images that returns zeros where the image is hidden and
ones elsewhere; the caller multiplies. A hidden pixel thus takes the value 0 of the normalised tensor, the mean colour
of the backbone's normalisation (MPFT Eq. 2).

All draws are made per image, in float64, on the CPU generator that is passed in, and moved to the images' device
afterwards: the same seed gives the same boxes on any device.
"""

from __future__ import annotations

from tellsign.registry import Record, Registry

MASKS = Registry(
    "mask",
    {
        "none": Record("tellsign.methods.masks.none", "none", settings="NoMask"),
        "texture_aware": Record("tellsign.methods.masks.texture_aware", "texture_aware", settings="TextureAware"),
        "random_box": Record("tellsign.methods.masks.random_box", "random_box", settings="RandomBox"),
        "cutout": Record("tellsign.methods.masks.cutout", "cutout", settings="CutOut"),
        "grid_mask": Record("tellsign.methods.masks.grid_mask", "grid_mask", settings="GridMask"),
        "random_erasing": Record("tellsign.methods.masks.random_erasing", "random_erasing", settings="RandomErasing"),
    },
)
"""``mask(x, generator, **settings)`` by name."""
