"""Train a detector on images (MPFT, LoL, rescale's fine-tuning and the baselines inside the papers).

Reads   the split, its whole decoded images (crops), and where the recipe starts from, an encoder or another run
Writes  a checkpoint folder: model.safetensors (the last epoch), epoch-NN.safetensors (the kept epochs before it) or,
        for few-shot recipes, target-SUBSET.safetensors; recipe.yaml, provenance.json, log.csv
Resumes from the last whole epoch, kept under --work.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tellsign.detectors import build_detector, kept_weights, load_encoder, load_weights, save_weights, seal
from tellsign.fit import Adam, Resume, balanced_batches, fit, step_schedule, write_log
from tellsign.heads import Detector
from tellsign.locks import alone
from tellsign.losses import binary_cross_entropy
from tellsign.masks import MASKS
from tellsign.pixels import PixelTable, augment
from tellsign.rows import chosen_rows, subsets_of
from tellsign.runtime import folder_beside, pick_device, write_text


def starting_detector(settings: Mapping[str, Any], start: Path | None) -> Detector:
    """The detector that training starts from."""
    detector = build_detector(settings)
    if settings["start"] == "pretrain" and start is not None:
        encoder = load_encoder(start, torch.device("cpu"))
        detector.backbone.load_state_dict(encoder.state_dict())
    elif settings["start"] == "run" and start is not None:
        load_weights(detector, start / "model.safetensors")
    return detector


def set_batch_norm(detector: Detector, batch_norm: str) -> None:
    """Put the detector into training mode; ``frozen`` BatchNorm layers keep their running statistics."""
    detector.train()
    if batch_norm == "frozen":
        for module in detector.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


class Trainer:
    """One training: draws crops, masks them, computes the loss.

    Args:
        detector: What is trained, on its device.
        table: Decoded images.
        rows: Row of the table of each training image.
        labels: Its label, 0 real or 1 fake.
        settings: The recipe.
        generator: Source of every draw.
        device: Where batches are computed.
    """

    def __init__(
        self,
        detector: Detector,
        table: PixelTable,
        rows: Int64[Tensor, " n"],
        labels: Int64[Tensor, " n"],
        settings: Mapping[str, Any],
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.detector, self.table, self.rows, self.labels = detector, table, rows, labels
        self.settings, self.generator, self.device = settings, generator, device
        mask = dict(settings["mask"])
        self.mask = MASKS[mask.pop("name")]
        self.mask_options = mask
        self.autocast = {"fp32": None, "bf16": torch.bfloat16}[settings["precision"]]

    def loss(self, batch: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
        """Binary cross-entropy of one batch of training images (positions in ``rows``)."""
        pixels = self.table.random_crops(self.rows[batch], self.settings["crop"], self.generator)
        pixels = augment(pixels, self.generator, flip=self.settings["flip"], rotate=self.settings["rotate"]).to(
            self.device
        )
        x = self.detector.backbone.preprocess(pixels)
        x = x * self.mask(x, self.generator, **self.mask_options)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            logits = self.detector(x)
        return binary_cross_entropy(logits.float(), self.labels[batch].to(self.device))

    def run(self, out: Path, names: Mapping[int, str], work: Path) -> list[dict[str, float]]:
        """Train, writing the weights of the epochs in ``names`` to ``out``."""
        recipe, optimiser = self.settings, self.settings["optimiser"]
        out.mkdir(parents=True, exist_ok=True)
        set_batch_norm(self.detector, recipe["batch_norm"])
        adam = Adam.of(self.detector.parameters(), optimiser)

        def keep(done: int) -> None:
            if done in names:
                save_weights(self.detector, out / names[done])

        return fit(
            self.detector,
            self.loss,
            lambda: balanced_batches(self.labels, recipe["batch_size"], self.generator),
            adam,
            epochs=recipe["epochs"],
            rate=lambda epoch: step_schedule(optimiser["lr"], epoch, **recipe["schedule"]),
            generator=self.generator,
            resume=Resume(work),
            after_epoch=keep,
        )


def main(
    *,
    settings: dict[str, Any],
    split: Path,
    crops: Path,
    out: Path,
    work: Path,
    start: Path | None = None,
    device: str = "auto",
) -> None:
    """Train one run at one seed.

    Raises:
        UserError: the split lacks a subset or images, weights do not fit, or the loss is not finite.
    """
    target_device = pick_device(device)
    table = PixelTable.open(crops)
    began = time.monotonic()
    with alone(work), folder_beside(out) as part:
        logs: list[dict[str, float]] = []
        seen = 0
        for training in trainings(settings, split):
            ids, labels = chosen_rows(split, training.subsets, training.count)
            detector = starting_detector(settings, start).to(target_device)
            generator = torch.Generator().manual_seed(settings["seed"])
            trainer = Trainer(detector, table, table.rows_of(ids), labels, settings, generator, target_device)
            state = work / (training.target or "whole")
            logs += trainer.run(state / "weights", training.kept, state)
            seen += len(labels) * settings["epochs"]
            for name in training.kept.values():
                shutil.copyfile(state / "weights" / name, part / name)
        write_log(part / "log.csv", logs)
        write_text(part / "recipe.yaml", yaml.safe_dump(settings, sort_keys=True))
        facts = {"seconds": round(time.monotonic() - began, 2), "images_seen": seen, "device": str(target_device)}
        seal(part, facts)
        shutil.rmtree(work)


@dataclass(frozen=True)
class Training:
    """One training of a recipe.

    Attributes:
        target: The subset that a few-shot recipe adapts to; empty for an ordinary training.
        subsets: Subsets to train on; none named means all.
        count: Images of each.
        kept: Epoch (1-based) to the name of the weights kept after it.
    """

    target: str
    subsets: list[str]
    count: int | str
    kept: dict[int, str]


def trainings(settings: Mapping[str, Any], split: Path) -> list[Training]:
    """The trainings of a recipe: one, or for few-shot recipes one a subset."""
    subsets, epochs, shots = settings["data"]["subsets"], settings["epochs"], settings["shots"]
    if shots is None:
        return [Training("", subsets, settings["data"]["count"], kept_weights(epochs, settings["keep"]))]
    targets = subsets or subsets_of(split)
    return [Training(t, [t], 2 * shots, {epochs: f"target-{t}.safetensors"}) for t in targets]
