"""Train a head on cached features (TIDY, Eq. 7 and 8).

Reads   the split and its features (embed)
Writes  a checkpoint folder: model.safetensors, recipe.yaml, provenance.json, log.csv
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
import yaml

from tellsign.data.features import Features
from tellsign.data.rows import chosen_rows
from tellsign.methods.losses import binary_cross_entropy
from tellsign.methods.representation import representation
from tellsign.networks.detectors import build_head, kept_weights, save_weights, seal
from tellsign.networks.determinism import pick_device
from tellsign.system.files import folder_beside, write_text
from tellsign.training.fit import fit, shuffled_batches, write_log
from tellsign.training.optimisers import build_optimiser
from tellsign.training.resume import Resume
from tellsign.training.schedules import scheduled_rate


def main(*, settings: dict[str, Any], split: Path, features: Path, out: Path, device: str = "cpu") -> None:
    """Train one head at one seed."""
    target_device = pick_device(device)
    held = Features.load(features)
    ids, labels = chosen_rows(split, settings["data"]["subsets"], settings["data"]["count"])
    inputs = representation(held, settings["discrepancy"])[held.rows_of(ids)].to(target_device)
    targets = labels.to(target_device)
    head = build_head(settings["head"], inputs.shape[1], settings["seed"]).to(target_device).train()
    recipe, optimiser = settings, settings["optimiser"]
    generator = torch.Generator().manual_seed(settings["seed"])
    began = time.monotonic()
    kept = kept_weights(recipe["epochs"], recipe["keep"])
    with folder_beside(out) as part:

        def keep(done: int) -> None:
            if done in kept:
                save_weights(head, part / kept[done])

        rows = fit(
            head,
            lambda batch: binary_cross_entropy(head(inputs[batch]), targets[batch]),
            lambda: shuffled_batches(len(labels), recipe["batch_size"], generator),
            build_optimiser(head.parameters(), optimiser),
            epochs=recipe["epochs"],
            rate=lambda epoch: scheduled_rate(optimiser["lr"], epoch, recipe["epochs"], recipe["schedule"]),
            generator=generator,
            resume=Resume(None),  # seconds of work: not worth keeping
            after_epoch=keep,
        )
        write_log(part / "log.csv", rows)
        write_text(part / "recipe.yaml", yaml.safe_dump(settings | {"dim": inputs.shape[1]}, sort_keys=True))
        facts = {"seconds": round(time.monotonic() - began, 2), "images_seen": len(labels) * recipe["epochs"]}
        seal(part, facts | {"device": str(target_device)})
