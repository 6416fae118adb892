"""Classification heads on features.

A head gives one logit an image; its sigmoid is p(fake), and binary cross-entropy trains it.
"""

from __future__ import annotations

from tellsign.registry import Record, Registry

HEADS = Registry(
    "head",
    {
        "linear": Record("tellsign.networks.heads.linear", "linear", settings="LinearHead"),
        "mlp": Record("tellsign.networks.heads.mlp", "mlp", settings="MlpHead"),
        "mlp2": Record("tellsign.networks.heads.mlp2", "mlp2", settings="Mlp2Head"),
        "nearest": Record("tellsign.networks.heads.nearest", "nearest", settings="NearestHead"),
    },
)
"""``head(dim, **settings)`` by name, for features of length ``dim``; draws from torch's global generator."""
