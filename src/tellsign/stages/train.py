"""Train a detector on images (MPFT, LoL, rescale's fine-tuning and the baselines inside the papers).

Reads   the split, its whole decoded images (crops), where the recipe starts from, an encoder or another run, and for
        early stopping a validation split and its centre crops
Writes  a checkpoint folder: model.safetensors (the last epoch, or with early stopping the best), epoch-NN.safetensors
        (the kept epochs before it) or, for few-shot recipes, target-SUBSET.safetensors; recipe.yaml, provenance.json,
        log.csv
Resumes from the last whole epoch, kept under --work. The head `nearest` has no epochs: it stores the features of the
training images' centre crops.
"""

from __future__ import annotations

import functools
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.data.augmentations import augmented_crops, draw_blur_jpeg
from tellsign.data.pixels import PixelTable, augment
from tellsign.data.rows import chosen_rows, subsets_of
from tellsign.errors import UserError
from tellsign.methods.losses import binary_cross_entropy
from tellsign.methods.masks import MASKS
from tellsign.networks.detectors import build_detector, kept_weights, load_encoder, load_weights, save_weights, seal
from tellsign.networks.determinism import pick_device
from tellsign.networks.heads import Detector, Nearest
from tellsign.networks.inference import features_of, score_images
from tellsign.system.devices import loader_threads
from tellsign.system.files import folder_beside, write_text
from tellsign.system.integrity import sha256_of_file
from tellsign.system.locks import exclusive_lock
from tellsign.training.early_stopping import EarlyStop
from tellsign.training.fit import fit, shuffled_batches, write_log
from tellsign.training.optimisers import build_optimiser
from tellsign.training.resume import Resume
from tellsign.training.schedules import scheduled_rate

EVALUATED = 64
"""Images computed at once for validation and for the bank of the nearest neighbour."""


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


@dataclass(frozen=True)
class Images:
    """Labelled rows of a table.

    Attributes:
        table: Decoded images.
        rows: Row of the table of each image.
        labels: Its label, 0 real or 1 fake.
    """

    table: PixelTable
    rows: Int64[Tensor, " n"]
    labels: Int64[Tensor, " n"]

    @classmethod
    def chosen(cls, table: PixelTable, split: Path, subsets: list[str], count: int | str) -> Images:
        """Images of a split: of some subsets (none named: all), the first ``count`` of each."""
        ids, labels = chosen_rows(split, subsets, count)
        return cls(table, table.rows_of(ids), labels)


@dataclass(frozen=True)
class Batch:
    """One batch of training images.

    Attributes:
        rows: Positions among the training images.
        crops: Their crops, where they were made ahead; None where they are cut when their turn comes.
    """

    rows: Int64[Tensor, " b"]
    crops: UInt8[Tensor, "b 3 size size"] | None = None

    def __len__(self) -> int:
        return len(self.rows)


def accuracy_of(detector: Detector, images: Images, size: int, batch_norm: str) -> float:
    """Share of images called rightly at 0.5, from their centre crops; the detector is in training mode after it."""
    detector.eval()
    scores = torch.from_numpy(score_images(detector, images.table, images.rows, size, EVALUATED))
    set_batch_norm(detector, batch_norm)
    return float(((scores > 0.5) == (images.labels == 1)).double().mean())


class Trainer:
    """One training: draws crops, masks them, computes the loss.

    Args:
        detector: What is trained, on its device.
        images: What it is trained on.
        settings: The recipe.
        generator: Source of every draw.
        device: Where batches are computed.
        validation: What early stopping looks at; None without.
    """

    def __init__(
        self,
        detector: Detector,
        images: Images,
        settings: Mapping[str, Any],
        generator: torch.Generator,
        device: torch.device,
        validation: Images | None = None,
    ) -> None:
        self.detector, self.images, self.validation = detector, images, validation
        self.settings, self.generator, self.device = settings, generator, device
        mask = dict(settings["mask"])
        self.mask = MASKS.load(mask.pop("name"))
        self.mask_options = mask
        self.autocast = {"fp32": None, "bf16": torch.bfloat16}[settings["precision"]]

    def batches(self) -> Iterator[Batch]:
        """The batches of one epoch."""
        order = shuffled_batches(len(self.images.labels), self.settings["batch_size"], self.generator)
        options = dict(self.settings["augment"])
        if options.pop("name") == "none":
            yield from map(Batch, order)
            return
        positions = list(order)
        draws = draw_blur_jpeg(len(self.images.labels), self.generator, **options)
        rows = [self.images.rows[batch] for batch in positions]
        workers = loader_threads(self.device)
        crops = augmented_crops(self.images.table, rows, draws, self.settings["crop"], workers=workers)
        yield from map(Batch, positions, crops)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Binary cross-entropy of one batch of training images."""
        pixels = batch.crops
        if pixels is None:
            rows = self.images.rows[batch.rows]
            pixels = self.images.table.random_crops(rows, self.settings["crop"], self.generator)
        pixels = augment(pixels, self.generator, flip=self.settings["flip"], rotate=self.settings["rotate"]).to(
            self.device
        )
        x = self.detector.backbone.preprocess(pixels)
        x = x * self.mask(x, self.generator, **self.mask_options)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            logits = self.detector(x)
        return binary_cross_entropy(logits.float(), self.images.labels[batch.rows].to(self.device))

    def early_stop(self) -> EarlyStop | None:
        """The early stopping of the recipe, if it has any."""
        if self.validation is None:
            return None
        size, batch_norm = self.settings["crop"], self.settings["batch_norm"]
        accuracy = functools.partial(accuracy_of, self.detector, self.validation, size, batch_norm)
        rules = {key: self.settings["stop"][key] for key in ("patience", "factor", "min_lr", "delta")}
        return EarlyStop(accuracy, **rules)

    def run(self, out: Path, names: Mapping[int, str], work: Path) -> Result:
        """Train, writing the weights of the epochs in ``names`` to ``out``, or of the best one if it stops early."""
        recipe, optimiser = self.settings, self.settings["optimiser"]
        out.mkdir(parents=True, exist_ok=True)
        set_batch_norm(self.detector, recipe["batch_norm"])
        stop = self.early_stop()

        def keep(done: int) -> None:
            if stop is not None and stop.epoch == done:
                keep_weights(self.detector, out / names[recipe["epochs"]])
            elif stop is None and done in names:
                keep_weights(self.detector, out / names[done])

        rows = fit(
            self.detector,
            self.loss,
            self.batches,
            build_optimiser(self.detector.parameters(), optimiser),
            epochs=recipe["epochs"],
            rate=lambda epoch: scheduled_rate(optimiser["lr"], epoch, recipe["epochs"], recipe["schedule"]),
            generator=self.generator,
            resume=Resume(work),
            after_epoch=keep,
            stop=stop,
        )
        return Result(rows, sum(int(row["rows"]) for row in rows), recipe["epochs"] if stop is None else stop.epoch)

    def store_bank(self, head: Nearest, path: Path) -> Result:
        """Store the features of the training images in a nearest neighbour, instead of training.

        Source: UniFD (Ojha et al. 2023) §4.2, a bank of the training images' features; centre crops, as its tests.
        """
        images, size = self.images, self.settings["crop"]
        self.detector.eval()
        features = features_of(self.detector.backbone, images.table, images.rows, size, EVALUATED)
        head.store(features, images.labels)
        keep_weights(self.detector, path)
        return Result([], len(images.rows), 0)


def keep_weights(detector: Detector, path: Path) -> None:
    """Write weights that wait for the training's end, and their sha256 beside them."""
    save_weights(detector, path)
    write_text(path.with_suffix(".sha256"), sha256_of_file(path))


def copy_kept(path: Path, target: Path) -> None:
    """Copy weights that `keep_weights` wrote.

    Raises:
        UserError: they are not what was written.
    """
    shutil.copyfile(path, target)
    written = path.with_suffix(".sha256")
    if not written.is_file() or sha256_of_file(target) != written.read_text(encoding="utf-8"):
        state = shlex.quote(str(path.parent.parent))
        raise UserError(
            f"{path} was changed since it was written. `rm -r {state}` and run the same command: that training begins "
            "anew."
        )


@dataclass(frozen=True)
class Result:
    """What a training leaves beside its weights.

    Attributes:
        log: One row an epoch.
        images_seen: Images times epochs.
        epoch: The epoch (1-based) of the last kept weights.
    """

    log: list[dict[str, float]]
    images_seen: int
    epoch: int


def main(
    *,
    settings: dict[str, Any],
    split: Path,
    crops: Path,
    out: Path,
    work: Path,
    start: Path | None = None,
    validation_split: Path | None = None,
    validation_crops: Path | None = None,
    device: str = "auto",
) -> None:
    """Train one run at one seed.

    Raises:
        UserError: the split lacks a subset or images, weights do not fit, or the loss is not finite.
    """
    target_device = pick_device(device)
    table = PixelTable.open(crops)
    validation = None
    if (stop := settings["stop"]) is not None:
        assert validation_split is not None and validation_crops is not None
        held_out = PixelTable.open(validation_crops)
        validation = Images.chosen(held_out, validation_split, stop["subsets"], stop["count"])
    began = time.monotonic()
    with exclusive_lock(work), folder_beside(out) as part:
        results: list[Result] = []
        for training in trainings(settings, split):
            images = Images.chosen(table, split, training.subsets, training.count)
            detector = starting_detector(settings, start).to(target_device)
            generator = torch.Generator().manual_seed(settings["seed"])
            trainer = Trainer(detector, images, settings, generator, target_device, validation)
            state = work / (training.target or "whole")
            if isinstance(detector.head, Nearest):
                (name,) = training.kept.values()
                results.append(trainer.store_bank(detector.head, state / "weights" / name))
            else:
                results.append(trainer.run(state / "weights", training.kept, state))
            for name in training.kept.values():
                copy_kept(state / "weights" / name, part / name)
        write_log(part / "log.csv", [row for result in results for row in result.log])
        write_text(part / "recipe.yaml", yaml.safe_dump(settings, sort_keys=True))
        facts = {"seconds": round(time.monotonic() - began, 2), "device": str(target_device)}
        facts |= {"images_seen": sum(result.images_seen for result in results), "epoch": results[-1].epoch}
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
