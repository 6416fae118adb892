"""Detectors of other shapes than a backbone with a head fit the same seam: a toy of each, through the stages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from small_runs import plan_of, scored, train_and_val, trained
from test_train import killed_in_save
from torch import nn

from tellsign.data.pixels import PixelTable
from tellsign.detectors.protocol import Phase, Sample
from tellsign.detectors.recipes.base import Pixels, Recipe, Source
from tellsign.detectors.registry import METHODS, RECIPES
from tellsign.errors import UserError
from tellsign.registry import Record
from tellsign.schema.training import Resize
from tellsign.training.early_stopping import EarlyStop
from tellsign.training.optimisers.adam_steps import Adam

pytestmark = pytest.mark.usefixtures("state_every_epoch")


def roughness(table, ids):
    """Mean difference of neighbours and mean brightness of each image: the two features that the toys look at."""
    crops = table.center_crops(table.rows_of(ids), 32).float() / 255
    return torch.stack([(crops[..., 1:] - crops[..., :-1]).abs().mean((1, 2, 3)), crops.mean((1, 2, 3))], 1)


class Toy:
    """What the toys share: a linear model on two features, begun and restored alike."""

    readers = {"crops": PixelTable.open}  # noqa: RUF012
    width = 2

    def __init__(self, settings, n=0):
        self.settings, self.n = settings, n
        self.model = nn.Linear(self.width, 1)
        for value in self.model.parameters():
            nn.init.zeros_(value)

    @classmethod
    def begin(cls, settings, sample, start, device):
        return cls(settings, len(sample.ids))

    @classmethod
    def restore(cls, settings, view, device):
        return cls(settings, settings.get("n", 0))

    def shape(self):
        return {}

    def features(self, inputs, ids):
        return 10 * roughness(inputs["crops"], ids)

    def phase(self, sample: Sample, generator, params, loss, epochs) -> Phase:
        x, y = self.features(sample.inputs, sample.ids), sample.labels.float()
        batches = lambda: iter(torch.randperm(len(y), generator=generator).split(4))  # noqa: E731
        return Phase(lambda b: loss(x[b], y[b]), batches, Adam(params, lr=0.3), epochs, lambda epoch: 0.3)

    def cross_entropy(self, x, y):
        return F.binary_cross_entropy_with_logits(self.model(x)[:, 0], y)

    def phases(self, sample, validation, generator) -> Iterator[Phase]:
        yield self.phase(sample, generator, self.model.parameters(), self.cross_entropy, 20)

    def scores(self, inputs, ids, batch_size):
        with torch.no_grad():
            return self.model(self.features(inputs, ids))[:, 0].sigmoid().numpy()


class Staged(Toy):
    """Trains the bias alone, then all, then shifts the threshold to the training images' median."""

    def phases(self, sample, validation, generator):
        yield self.phase(sample, generator, [self.model.bias], self.cross_entropy, 3)
        yield self.phase(sample, generator, self.model.parameters(), self.cross_entropy, 20)
        with torch.no_grad():
            self.model.bias -= self.model(self.features(sample.inputs, sample.ids)).median()


class Bank(Toy):
    """Stores every training image's features and asks the nearest one."""

    def __init__(self, settings, n=0):
        super().__init__(settings, n)
        self.model: Any = nn.Module()
        self.model.register_buffer("bank", torch.zeros(n, 2))
        self.model.register_buffer("labels", torch.zeros(n))

    def shape(self):
        return {"n": self.n}

    def phases(self, sample, validation, generator):
        self.model.bank.copy_(self.features(sample.inputs, sample.ids))
        self.model.labels.copy_(sample.labels)
        return iter(())

    def scores(self, inputs, ids, batch_size):
        distances = torch.cdist(self.features(inputs, ids), self.model.bank)
        return self.model.labels[distances.argmin(1)].numpy()


class TwoInputs(Toy):
    """Looks at an image and at its error map, here the image without its finest detail."""

    readers = {"crops": PixelTable.open, "maps": PixelTable.open}  # noqa: RUF012
    width = 4

    def features(self, inputs, ids):
        return 10 * torch.cat([roughness(inputs[role], ids) for role in ("crops", "maps")], 1)


class SeveralLosses(Toy):
    """Cross-entropy, and a term that pulls the logits of one class together (contrastive, in one dimension)."""

    def both(self, x, y):
        z = self.model(x)[:, 0]
        alike = (y[:, None] == y[None]).float()
        return self.cross_entropy(x, y) + 0.1 * (alike * (z[:, None] - z[None]) ** 2).mean()

    def phases(self, sample, validation, generator):
        yield self.phase(sample, generator, self.model.parameters(), self.both, 20)


class Untrained(Toy):
    """A rule: the smoother an image, the likelier a fake."""

    def phases(self, sample, validation, generator):
        return iter(())

    def scores(self, inputs, ids, batch_size):
        return (2.6 - self.features(inputs, ids)[:, 0]).sigmoid().numpy()


class ToyRecipe(Recipe):
    """What a run of most toys may say."""

    needs_gpu: ClassVar[bool] = False

    def inputs(self) -> dict[str, Source]:
        return {"crops": Pixels(32)}


class TwoInputsRecipe(ToyRecipe):
    """That of the toy with two inputs."""

    smooth: int = 16

    def inputs(self):
        return super().inputs() | {"maps": Pixels(32, Resize(mode="squash", size=self.smooth))}


TOYS = {toy.__name__: toy for toy in (Staged, Bank, TwoInputs, SeveralLosses, Untrained)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    """A line a toy, and one for the class of its recipe. They lie outside the package, whose code is digested."""
    monkeypatch.setattr("tellsign.plan.artifact.code_digest", lambda *modules: " ".join(modules))
    for name in TOYS:
        monkeypatch.setitem(METHODS.records, name, Record(__name__, name))
        recipe = "TwoInputsRecipe" if name == "TwoInputs" else "ToyRecipe"
        monkeypatch.setitem(RECIPES.records, name, Record(__name__, recipe))


def planned(tmp_path, name, **run):
    """The demo's plan with a paper of one toy: the run's checkpoint and scores."""
    plan = plan_of(tmp_path, {"toy": run}, base={"method": name})
    plan.everything()
    toy = plan.run("toys", "toy")
    return plan.checkpoint(toy, 0), plan.score(toy)


@pytest.mark.parametrize("toy", TOYS)
def test_a_toy_of_each_shape_is_planned_trained_and_tells_fakes_from_reals(data, tmp_path, toy):
    checkpoint, scores = planned(tmp_path, toy)
    log = trained(data, tmp_path / "run", checkpoint)
    rows = scored(data, tmp_path / "run", scores)
    labels, scores = np.array(rows["label"].to_pylist()), np.array(rows["score"].to_pylist())
    assert ((scores > 0.5) == (labels == 1)).all()
    epochs = {"Staged": 23, "Bank": 0, "Untrained": 0}.get(toy, 20)
    facts = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert len(log) == epochs and facts["images_seen"] == 12 * max(epochs, 1)


@pytest.mark.parametrize("toy", TOYS)
def test_the_plan_knows_a_toys_inputs_from_its_recipe_alone(tmp_path, toy):
    checkpoint, scores = planned(tmp_path, toy)
    assert (checkpoint.stage, scores.stage) == ("train_head", "score_head")
    assert {role for role, _ in checkpoint.needs["inputs"]} == set(TOYS[toy].readers)
    assert {role for role, _ in scores.needs["inputs"]} == {f"{role}@test" for role in TOYS[toy].readers}
    assert all(made.settings["size"] == 32 for _, made in (*checkpoint.needs["inputs"], *scores.needs["inputs"]))
    assert [entry.attribute for entry in checkpoint.entries] == [toy]


def test_a_setting_of_an_input_moves_that_input_and_what_follows(tmp_path):
    before, after = (planned(tmp_path, "TwoInputs", smooth=side)[0] for side in (16, 8))
    paths = [dict(artifact.needs["inputs"]) for artifact in (before, after)]
    assert paths[0]["crops"].path == paths[1]["crops"].path and paths[0]["maps"].path != paths[1]["maps"].path
    assert before.path != after.path


def test_a_run_may_say_what_its_methods_recipe_has(tmp_path):
    with pytest.raises(UserError, match=r"unknown key 'smoth'\. Did you mean 'smooth'"):
        planned(tmp_path, "TwoInputs", smoth=8)
    with pytest.raises(UserError, match=r"unknown method of toys\.yaml: run toy 'Stagd'\. Did you mean 'Staged'"):
        planned(tmp_path, "Stagd")


def test_every_phase_is_logged_and_the_last_ones_epochs_are_kept(data, tmp_path):
    log = trained(data, tmp_path / "run", planned(tmp_path, "Staged", keep=2)[0])
    assert [(row["phase"], row["epoch"]) for row in log] == [("1", f"{e}") for e in range(1, 4)] + [
        ("2", f"{e}") for e in range(1, 21)
    ]
    assert {p.name for p in (tmp_path / "run").glob("*.safetensors")} == {"epoch-19.safetensors", "model.safetensors"}


@pytest.mark.parametrize("killed_after", [1, 3, 5, 22])
def test_a_training_killed_in_any_phase_resumes_to_the_same_bytes(data, tmp_path, monkeypatch, killed_after):
    staged, _ = planned(tmp_path, "Staged", keep=3)
    trained(data, tmp_path / "whole", staged)
    with killed_in_save(monkeypatch, killed_after):
        trained(data, tmp_path / "again", staged)
    assert (tmp_path / "work").is_dir()
    trained(data, tmp_path / "again", staged)
    for name in ("epoch-18", "epoch-19", "model"):
        whole, again = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "again"))
        assert all(torch.equal(whole[key], again[key]) for key in whole)


class Best(Toy):
    """Stops early, then trains nothing more: what the second phase starts from is the first one's best epoch."""

    def phases(self, sample, validation, generator):
        first = self.phase(sample, generator, self.model.parameters(), self.cross_entropy, 4)
        accuracies = iter([0.5, 0.9, 0.6, 0.6])
        seen = []

        def accuracy():
            seen.append(self.model.weight.detach().clone())
            return next(accuracies)

        yield replace(first, stop=EarlyStop(accuracy, patience=9, factor=0.1, min_lr=1e-6, delta=0.0))
        assert torch.equal(self.model.weight, seen[1]) and len(seen) == 4
        yield self.phase(sample, generator, [self.model.bias], self.cross_entropy, 1)


def test_a_phase_begins_with_the_best_weights_of_one_that_stopped_early(data, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS.records, "Best", Record(__name__, "Best"))
    monkeypatch.setitem(RECIPES.records, "Best", Record(__name__, "ToyRecipe"))
    log = trained(data, tmp_path / "run", planned(tmp_path, "Best")[0])
    assert [(row["phase"], row["epoch"]) for row in log] == [*(("1", f"{e}") for e in range(1, 5)), ("2", "1")]
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["epoch"] == 1
