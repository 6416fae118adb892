"""Train a run at one seed, by its method (`tellsign.detectors`).

Reads   the split, the inputs that the method looks at, by role (crops, features), where the recipe starts from, an
        encoder or another run, and for early stopping a validation split and its inputs
Writes  a checkpoint folder: model.safetensors (the last epoch, or with early stopping the best), epoch-NN.safetensors
        (the kept epochs before it) or, for few-shot recipes, target-SUBSET.safetensors; recipe.yaml, provenance.json,
        log.csv
Resumes from the last whole epoch, kept under --work.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from tellsign.data.rows import chosen_rows, subsets_of
from tellsign.detectors.base_weights import PREFIX, BaseWeights
from tellsign.detectors.checkpoints import kept_weights, load_weights, save_weights, write_provenance
from tellsign.detectors.protocol import Method, Phase, Sample
from tellsign.detectors.registry import METHODS
from tellsign.errors import UserError
from tellsign.networks.determinism import pick_device
from tellsign.system.files import add_to_manifest, folder_beside, write_text
from tellsign.system.integrity import read_manifest, sha256_of_file
from tellsign.system.locks import exclusive_lock
from tellsign.training.fit import fit, write_log
from tellsign.training.resume import Resume


def keep_weights(method: Method, path: Path, base: BaseWeights | None) -> None:
    """Write weights that wait for the training's end, and their sha256 into their folder's manifest."""
    save_weights(method.model, path, base)
    add_to_manifest(path)


def check_kept(path: Path, written: Path) -> None:
    """Hold weights, or a copy of them, against what `keep_weights` wrote to ``written``.

    Raises:
        UserError: they are not what was written.
    """
    if sha256_of_file(path) != read_manifest(written.parent).get(written.name):
        state = shlex.quote(str(written.parent.parent))
        raise UserError(
            f"{written} was changed since it was written. `rm -r {state}` and run the same command again: that "
            "training begins anew."
        )


@dataclass(frozen=True)
class PhaseResult:
    """What a phase leaves beside its weights.

    Attributes:
        log: One row an epoch.
        epoch: The epoch (1-based) of the weights that the model holds.
        kept: Names of the weights that wait in ``folder``: the kept epochs before that one.
        folder: Where they wait.
    """

    log: list[dict[str, float]]
    epoch: int
    kept: tuple[str, ...]
    folder: Path


def run_phase(
    method: Method, phase: Phase, keep: int, state: Path, generator: torch.Generator, base: BaseWeights | None
) -> PhaseResult:
    """Run a phase from where its state stands; the model holds the last epoch's weights after it, or the best one's.

    Args:
        method: What is trained.
        phase: One of its phases.
        keep: So many of the last epochs are kept.
        state: Folder of its state and kept weights.
        generator: Source of every draw.
        base: Weights that no file of these holds.

    Raises:
        UserError: the loss is not finite, or what was kept of a killed training was changed.
    """
    weights, stop = state / "weights", phase.stop
    names = kept_weights(phase.epochs, keep)
    last = names.pop(phase.epochs)

    def keep_epoch(done: int) -> None:
        if stop is not None and stop.epoch == done:
            keep_weights(method, weights / last, base)
        elif stop is None and done in names:
            keep_weights(method, weights / names[done], base)

    log = fit(
        method.model,
        phase.loss,
        phase.batches,
        phase.optimiser,
        epochs=phase.epochs,
        rate=phase.rate,
        generator=generator,
        resume=Resume(state, without=None if base is None else PREFIX),
        after_epoch=keep_epoch,
        stop=stop,
    )
    if stop is None:
        return PhaseResult(log, phase.epochs, tuple(names.values()), weights)
    check_kept(weights / last, weights / last)
    load_weights(method.model, weights / last)
    return PhaseResult(log, stop.epoch, (), weights)


@dataclass(frozen=True)
class Training:
    """One training of a recipe.

    Attributes:
        target: The subset that a few-shot recipe adapts to; empty for an ordinary training.
        subsets: Subsets to train on; none named means all.
        count: Images of each.
    """

    target: str
    subsets: list[str]
    count: int | str

    @property
    def name(self) -> str:
        """The file of its last weights."""
        return f"target-{self.target}.safetensors" if self.target else "model.safetensors"


def trainings(settings: Mapping[str, Any], split: Path) -> list[Training]:
    """The trainings of a recipe: one, or for few-shot recipes one a subset."""
    subsets, shots = settings["data"]["subsets"], settings.get("shots")
    if shots is None:
        return [Training("", subsets, settings["data"]["count"])]
    return [Training(target, [target], 2 * shots) for target in subsets or subsets_of(split)]


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves beside its weights.

    Attributes:
        log: One row an epoch; where there are several phases with the number (1-based) of each.
        images_seen: Images times epochs; each image once where there are no epochs.
        epoch: The epoch (1-based) of the last phase whose weights are the result; 0 without phases.
        shape: What the model's shape depends on.
    """

    log: list[dict[str, float]]
    images_seen: int
    epoch: int
    shape: Mapping[str, Any]


def run_training(
    method: Method,
    training: Training,
    settings: Mapping[str, Any],
    sample: Sample,
    validation: Sample | None,
    generator: torch.Generator,
    state: Path,
    out: Path,
) -> TrainingResult:
    """Run all phases of a method; write the weights of its last epochs to ``out``.

    Args:
        method: What is trained.
        training: Names the weights.
        settings: The recipe. Of the last phase's epochs the last ``keep`` are kept, of a few-shot training the last.
        sample: The training images.
        validation: The images that early stopping looks at, if any.
        generator: Source of every draw.
        state: Where a killed training resumes from.
        out: The checkpoint folder.

    Raises:
        UserError: as `run_phase`.
        RuntimeError: the method changed what its recipe says is frozen.
    """
    results: list[PhaseResult] = []
    keep = 1 if training.target else settings["keep"]
    base = BaseWeights.of(method.model, settings)
    for number, phase in enumerate(method.phases(sample, validation, generator)):
        place = state / f"phase-{number + 1}" if number else state
        results.append(run_phase(method, phase, keep, place, generator, base))
    if base is not None and not base.are_in(method.model):
        raise RuntimeError("trainable: head says that the backbone is frozen, but the method changed it")
    save_weights(method.model, out / training.name, base)
    for name in results[-1].kept if results else ():
        shutil.copyfile(results[-1].folder / name, out / name)
        check_kept(out / name, results[-1].folder / name)
    several = len(results) > 1
    log = [({"phase": n} if several else {}) | row for n, one in enumerate(results, start=1) for row in one.log]
    seen = sum(int(row["rows"]) for row in log) if results else len(sample.ids)
    return TrainingResult(log, seen, results[-1].epoch if results else 0, method.shape())


def main(
    *,
    settings: dict[str, Any],
    split: Path,
    inputs: dict[str, Path],
    out: Path,
    work: Path,
    start: Path | None = None,
    validation_split: Path | None = None,
    validation_inputs: dict[str, Path] | None = None,
    device: str = "auto",
) -> None:
    """Train one run at one seed.

    Raises:
        UserError: the split lacks a subset or images, weights do not fit, or the loss is not finite.
    """
    target_device = pick_device(device)
    method_class = METHODS.load(settings["method"])
    opened = {role: method_class.readers[role](path) for role, path in inputs.items()}
    validation = None
    if validation_split is not None:
        stop = settings["stop"]
        ids, labels = chosen_rows(validation_split, stop["subsets"], stop["count"])
        looked_at = {role: method_class.readers[role](path) for role, path in (validation_inputs or {}).items()}
        validation = Sample(ids, labels, looked_at)
    began, worked = time.monotonic(), time.process_time()
    with exclusive_lock(work), folder_beside(out) as part:
        work.mkdir(exist_ok=True)
        results: list[TrainingResult] = []
        for training in trainings(settings, split):
            ids, labels = chosen_rows(split, training.subsets, training.count)
            sample = Sample(ids, labels, opened)
            method = method_class.begin(settings, sample, start, target_device)
            generator = torch.Generator().manual_seed(settings["seed"])
            state = work / (training.target or "whole")
            result = run_training(method, training, settings, sample, validation, generator, state, part)
            results.append(result)
        write_log(part / "log.csv", [row for result in results for row in result.log])
        write_text(part / "recipe.yaml", yaml.safe_dump({**settings, **results[-1].shape}, sort_keys=True))
        facts = {"seconds": round(time.monotonic() - began, 2), "device": str(target_device)}
        facts |= {"processor_seconds": round(time.process_time() - worked, 2)}
        facts |= {"images_seen": sum(result.images_seen for result in results), "epoch": results[-1].epoch}
        write_provenance(part, facts)
        shutil.rmtree(work)
