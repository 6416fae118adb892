"""Whether the trainings of a configuration have learnt: their loss on their own training images, as they are scored.

The images are looked at as test images are (centre crops, no mask, no augmentation), so that trainings under masks and
without can be compared. The configuration's tables must have been made. Prints docs/demo.md's table: a row for each
recipe, with the loss of every seed, or of every target of a few-shot recipe.

    python benchmarks/learnt.py [CONFIGFILE]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import log_loss

from tellsign.commands.configuration import plan_of
from tellsign.data.rows import chosen_rows
from tellsign.detectors.checkpoints import read_recipe
from tellsign.detectors.registry import METHODS
from tellsign.detectors.restoring import restored_methods
from tellsign.plan.artifact import Artifact
from tellsign.stages.train import trainings

LEARNT = 0.35
"""Mean binary cross-entropy below which a training counts as one that has learnt; knowing nothing gives 0.69."""


def losses(training: Artifact, view: dict[str, Any]) -> dict[str, float]:
    """Loss of the last epoch on the training images; of a few-shot recipe by target subset."""
    folder = Path(training.path)
    recipe = read_recipe(folder)
    readers = METHODS.load(recipe["method"]).readers
    (_, split), *_ = training.needs["split"]
    inputs = {role: readers[role](Path(made.path)) for role, made in training.needs["inputs"]}
    samples = {one.target: one for one in trainings(recipe, Path(split.path))}
    found: dict[str, float] = {}
    for _, target, method in restored_methods(folder, 1, view, torch.device("cpu")):
        ids, labels = chosen_rows(Path(split.path), samples[target].subsets, samples[target].count)
        found[target] = float(log_loss(labels, method.scores(inputs, ids, 64), labels=[0, 1]))
    return found


def main(configfile: str = "config/config.yaml") -> None:
    artifacts = plan_of(Path(configfile), []).everything().values()
    views = {}
    for made in artifacts:
        if made.stage in ("score", "score_head"):
            views |= {checkpoint.path: made.settings["view"] for _, checkpoint in made.needs["checkpoints"]}
    made = [one for one in artifacts if one.stage in ("train", "train_head") and Path(one.path).exists()]
    rows: dict[tuple[str, int, float], list[float]] = {}
    for training in sorted(made, key=lambda one: one.name):
        settings = training.settings
        recipe = (training.name.rpartition("-s")[0], settings["epochs"], settings["optimiser"]["lr"])
        rows.setdefault(recipe, []).extend(losses(training, views[training.path]).values())
    sys.stdout.write("| recipe | epochs | rate | loss on its training images | learnt |\n|---|---:|---:|---|---|\n")
    for (name, epochs, rate), values in rows.items():
        listed = ", ".join(f"{loss:.2f}" for loss in values)
        learnt = "yes" if max(values) < LEARNT else "no" if min(values) >= LEARNT else "in part"
        sys.stdout.write(f"| {name} | {epochs} | {rate:g} | {listed} | {learnt} |\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
