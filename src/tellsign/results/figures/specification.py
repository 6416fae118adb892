"""What a paper file may say of a figure.

Needs neither matplotlib nor torch, so that a plan can check its figures before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tellsign.errors import UserError, choose, near_miss

COMMON: dict[str, Any] = {
    "title": "",
    "note": "",
    "names": {},
    "banner": "",
    "comparable": False,
    "recipes": {},
    "networks": False,
    "encoders": [],
}
"""Keys that every figure may have, with their defaults."""

CELL: dict[str, Any] = {"benchmark": None, "perturbation": "none", "checkpoint": "last"}
"""Which of a run's metrics are drawn (null: any); a panel and then a row may say otherwise."""

METRIC_KINDS: dict[str, dict[str, Any]] = {
    "heat_map": CELL | {"rows": ..., "metric": "accuracy", "subsets": [], "mean": True},
    "ratio_curve": CELL
    | {
        "rows": ...,
        "x_label": ...,
        "panels": [{}],
        "metric": "accuracy",
        "subset": "mean",
        "log": False,
        "spread": "seeds",
    },
    "robustness_curve": CELL | {"rows": ..., "panels": ..., "metric": "ap_fake", "subset": "mean"},
    "steps_curve": CELL | {"rows": ..., "panels": [{}], "metric": "accuracy", "subset": "mean", "axis": "epoch"},
    "bars": CELL | {"rows": ..., "metric": "ap_fake", "subsets": [], "mean": True},
    "training_bars": CELL
    | {
        "rows": ...,
        "metric": ["accuracy", "ap_fake"],
        "subset": "mean",
        "checkpoint": "mean",
        "spread": "epochs",
    },
}
"""Kinds made from metrics alone: their keys with defaults; ``...`` marks a key that must be given."""

NETWORK_KINDS: dict[str, dict[str, Any]] = {
    "tsne": {"rows": ..., "split": ..., "crop": 0, "subsets": [], "per_class": 50, "seed": 0},
    "image_text_similarity": {"rows": ..., "split": ..., "subsets": [], "per_class": 50},
    "cam": {
        "rows": ...,
        "split": ...,
        "crop": ...,
        "subsets": [],
        "real": 2,
        "fake": 1,
        "target": "real",
        "scale": "row",
    },
    "similarity_map": {
        "network": ...,
        "split": ...,
        "crop": 256,
        "subsets": [],
        "images": 16,
        "patch": 128,
        "patches": 128,
    },
}
"""Kinds made from networks and images, likewise."""

PARTS: dict[str, tuple[str, ...]] = {
    "panels": ("title", "x_label", "severities", "metric", "subset", *CELL),
    "rows": ("label", "run", "grid", "field", "panel", "train", "x", "encoder", "rescale", "subsets", "split", *CELL),
}
"""Keys of the mappings inside a figure's lists."""


def complete_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A figure's entry of a paper file with every default filled in.

    Needs neither matplotlib nor torch, so that a plan can check its figures before anything runs. A complete
    specification is completed to itself.

    Raises:
        UserError: unknown kind, unknown key (with the near miss) or missing key.
    """
    kind = str(spec.get("kind", ""))
    where = f"figure {spec.get('name', '')!r}"
    own = COMMON | choose(METRIC_KINDS | NETWORK_KINDS, kind, f"kind of {where}")
    where += f" ({kind})"
    _refuse_unknown(spec, ("kind", "paper", "name", *own), where)
    missing = [key for key, value in own.items() if value is ... and key not in spec]
    if missing:
        raise UserError(f"{where}: key {missing[0]!r} is missing.")
    for part, known in PARTS.items():
        for entry in spec.get(part, ()):
            _refuse_unknown(entry, known, f"{part} of {where}")
    if spec.get("spread", "seeds") not in ("seeds", "epochs"):
        raise UserError(f"{where}: spread is {spec['spread']!r}. Known: seeds, epochs.")
    complete = {"paper": "", "name": "", **own, **spec}
    if "panels" in complete:
        complete["panels"] = [_in_order(panel) for panel in complete["panels"]]
    return complete


def _in_order(panel: Mapping[str, Any]) -> dict[str, Any]:
    """A panel with its severities as (tick, test set) pairs: JSON may lose the order of a mapping."""
    severities = panel.get("severities", {})
    pairs = severities.items() if isinstance(severities, Mapping) else severities
    return {**panel, "severities": [[str(tick), str(name)] for tick, name in pairs]}


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            listed = ", ".join(sorted(known))
            raise UserError(f"{where}: unknown key {key!r}.{near_miss(key, known)} Known: {listed}.")
