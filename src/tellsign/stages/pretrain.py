"""Pre-train an encoder by rescaling contrast (rescale §4.2).

Reads   whole decoded real photographs (crops, store: whole)
Writes  a folder: model.safetensors (the encoder; the projection head is discarded, as the paper says), recipe.yaml,
        provenance.json, log.csv
Resumes from the last whole epoch, kept under --work.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tellsign.backbones import load_backbone
from tellsign.detectors import save_weights, seal
from tellsign.fit import Resume, build_optimiser, fit, scheduled_rate, write_log
from tellsign.lattice import Ratio, sample_batch
from tellsign.locks import alone
from tellsign.losses import supervised_contrastive
from tellsign.pixels import PixelTable
from tellsign.runtime import folder_beside, pick_device, seeded, write_text


def projection_head(dim: int, hidden: int, out: int) -> nn.Module:
    """The MLP of the paper's Fig. 4(c), with SupContrast's form (Khosla et al. 2020): linear, ReLU, linear."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, out))


def main(*, settings: dict[str, Any], crops: Path, out: Path, work: Path, device: str = "auto") -> None:
    """Pre-train one encoder.

    Raises:
        UserError: too few or too small photographs, or the loss is not finite.
    """
    target_device = pick_device(device)
    seed, network = settings["seed"], settings["backbone"]
    encoder = load_backbone(network["name"], network["weights"], seed)
    with seeded(seed):
        projection = projection_head(encoder.dim, *settings["projection"])
    model = nn.ModuleDict({"encoder": encoder, "projection": projection}).to(target_device).train()
    table = PixelTable.open(crops)
    if target_device.type == "cuda":
        table = table.to(target_device)  # patches are then cut there
    images = [table.image(row) for row in range(len(table))]
    choices = [Ratio.parse(text) for text in settings["ratios"]]
    generator = torch.Generator().manual_seed(seed)
    sizes = {k: settings[k] for k in ("n_ratios", "n_phases", "n_images", "n_patches")}

    def loss_of(_: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
        batch = sample_batch(
            images,
            generator,
            ratios=choices,
            patch_size=settings["patch"],
            quantise=settings["quantise"],
            **sizes,
        )
        z = projection(encoder(encoder.preprocess(batch.patches)))
        return supervised_contrastive(z, batch.label, settings["temperature"])

    steps = settings["steps"] or -(-len(images) // settings["n_images"])
    rows = torch.arange(sizes["n_images"])

    def batches() -> Iterator[Int64[Tensor, " b"]]:
        for _ in range(steps):
            yield rows

    optimiser = settings["optimiser"]
    began = time.monotonic()
    with alone(work), folder_beside(out) as part:
        logs = fit(
            model,
            loss_of,
            batches,
            build_optimiser(model.parameters(), optimiser),
            epochs=settings["epochs"],
            rate=lambda epoch: scheduled_rate(optimiser["lr"], epoch, settings["epochs"], settings["schedule"]),
            generator=generator,
            resume=Resume(work),
            after_epoch=lambda done: None,
        )
        save_weights(encoder, part / "model.safetensors")
        write_log(part / "log.csv", logs)
        write_text(part / "recipe.yaml", yaml.safe_dump(settings, sort_keys=True))
        facts = {"seconds": round(time.monotonic() - began, 2), "images": len(images), "device": str(target_device)}
        seal(part, facts)
        shutil.rmtree(work)
