"""DRCT: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, listed, recipe_settings, with_filled_weights
from small_clips import (
    check_crops,
    check_published_names,
    check_stages,
    check_what_moved,
    embedding,
    empty_tower,
    outputs_of,
    slow_image,
    small_fields,
    tiny_clip,
)
from small_runs import plan_of, train_and_val

from tellsign.detectors.drct import Drct, DrctMethod, contrastive, drct_loss
from tellsign.errors import UserError
from tellsign.networks.backbones.loading import load_backbone
from tellsign.training.schedules.cosine_waves import cosine_waves

CPU = torch.device("cpu")
VIEW = {"crop": 224, "smaller": "black", "canvas": None}
CONVNEXT = "timm:convnext_base.fb_in22k"


def empty_network(name: str) -> Drct:
    """DRCT of full size whose weights are to be filled."""
    return Drct(load_backbone(name, "none", 0) if name == CONVNEXT else empty_tower(), 1024)


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("drct"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case = Case(path, close=1e-4)
    clip = "clip_features" in case.stored
    network = with_filled_weights(empty_network("clip-vit-l14" if clip else CONVNEXT))
    x = check_crops(case, DrctMethod(network, {}, VIEW, CPU), exact=False)
    inner = {"cls_block_11": "model.visual.transformer.resblocks.11", "clip_features": "model.visual"}
    inner = inner if clip else {"stage_0": "stages.0", "stage_3": "stages.3"}
    with outputs_of(**{name: network.model.get_submodule(layer) for name, layer in inner.items()}) as found:
        embedded = network.embedding(x)
    kept = {"cls_block_11": lambda y: y[:, :1], "clip_features": lambda y: y,
            "stage_0": lambda y: y[:, ::8, ::7, ::7], "stage_3": lambda y: y[:, ::16]}  # fmt: skip
    for name, value in found.items():
        case.compare(name, kept[name](value))
    case.compare("embedding", embedded)
    case.compare("logits", network.fc(embedded))
    case.compare("score", network(x).sigmoid())
    case.check_all_compared()


@pytest.mark.parametrize("path", cases_of("drct", kind="loss"))
def test_the_loss_and_its_gradients_are_those_of_the_public_code(path):
    case = Case(path)
    embedded, logits = (case.stored[name].clone().requires_grad_() for name in ("embedding", "logits"))
    labels, share = case.stored["labels"], case.config["alpha"]
    loss = drct_loss(embedded, logits, labels, share)
    loss.backward()
    found = {"loss": loss, "cross_entropy": drct_loss(embedded, logits, labels, 0.0),
             "contrastive": contrastive(embedded, labels), "grad_embedding": embedded.grad, "grad_logits": logits.grad,
             "eval_loss_term": drct_loss(embedded, logits.softmax(1), labels, 0.0)}  # fmt: skip
    for name, value in found.items():
        case.compare(name, value)
    case.compared |= dict.fromkeys(("embedding", "logits", "labels"), 0.0)
    case.check_all_compared()


@pytest.mark.parametrize(("name", "file"), [("clip-vit-l14", "tensors_clip.tsv"), (CONVNEXT, "tensors.tsv")])
def test_a_published_file_loads_by_its_own_names_and_no_other(name, file):
    check_published_names(empty_network(name), DrctMethod, listed("drct", file, fill=False), "fc.bias")


def test_the_contrastive_loss_is_that_of_loops():
    draws = np.random.default_rng(2)
    rows, labels = draws.normal(size=(6, 3)), [0, 1, 1, 0, 1, 1]
    rows[5] = rows[4] * 2  # a pair of one label without distance does not count
    unit = [row / math.sqrt(sum(row**2)) for row in rows]
    same, other = [], []
    for i in range(6):
        for j in range(6):
            if i != j:
                distance = math.sqrt(sum((unit[i] - unit[j]) ** 2))
                (same if labels[i] == labels[j] else other).append(distance if labels[i] == labels[j] else 1 - distance)
    same, other = [one for one in same if one > 1e-9], [one for one in other if one > 0]
    assert len(other) > 0 and len(same) == 12
    expected = sum(same) / len(same) + sum(other) / len(other)
    assert float(contrastive(torch.from_numpy(rows), torch.tensor(labels))) == pytest.approx(expected)
    assert float(contrastive(torch.from_numpy(rows[:1]), torch.tensor([0]))) == 0


@torch.no_grad()
def test_drct_on_a_clip_is_that_of_loops(tmp_path):
    name, _ = tiny_clip(tmp_path)
    network = Drct(load_backbone(name, str(tmp_path / "tiny.safetensors"), 0), 5).double().eval()
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    tower = {key.removeprefix("model.model.visual."): value for key, value in state.items()}
    features = embedding(tower, slow_image()) @ tower["proj"]
    embedded = state["model.fc.weight"] @ features + state["model.fc.bias"]
    outputs = [state["fc.weight"][i] @ embedded + state["fc.bias"][i] for i in range(2)]
    expected = math.exp(outputs[1]) / (math.exp(outputs[0]) + math.exp(outputs[1]))
    assert float(network(torch.from_numpy(slow_image())[None]).sigmoid()) == pytest.approx(expected)


def test_the_rate_falls_and_climbs_as_torchs_does():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=5)
    for epoch in range(17):
        assert cosine_waves(1e-4, epoch, 17, half=5) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        schedule.step()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


def test_it_is_planned_trained_and_scored_on_a_clip(data, tmp_path):
    settings, log = check_stages(data, tmp_path, small_fields(tmp_path, "drct") | {"width": 8, "epochs": 3})
    rates = [1e-4 * (1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in range(3)]
    assert [float(row["lr"]) for row in log] == pytest.approx(rates)
    check_what_moved(tmp_path, DrctMethod.begin(settings, None, None, CPU).model.state_dict(), r"^(model\.)?fc\.")


def test_it_is_planned_trained_and_scored_on_a_convnext(data, tmp_path):
    backbone = {"name": "timm:convnext_atto", "weights": "none"}
    settings, _ = check_stages(data, tmp_path, small_fields(tmp_path, "drct") | {"backbone": backbone, "width": 8})
    check_what_moved(tmp_path, DrctMethod.begin(settings, None, None, CPU).model.state_dict(), "")


def test_no_gradients_are_paid_for_through_a_clip(tmp_path):
    fields = small_fields(tmp_path, "drct")
    plan = plan_of(tmp_path, {"clip": fields, "conv": fields | {"backbone": {"name": CONVNEXT, "weights": "none"}}})
    recipes = {name: plan.run("toys", name).recipe for name in ("clip", "conv")}
    works = {name: recipe.work(recipe.training_settings() | {"backbone": {"name": recipe.backbone.name}})
             for name, recipe in recipes.items()}  # fmt: skip
    assert [works[name].trained for name in ("clip", "conv")] == [False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 1.5}, r"1.5 is outside \[0, 1\]"),
        ({"schedule": {"kind": "cosine_waves", "half": 0}}, "half: 0 must be above 0"),
        ({"canvas": 64}, "canvas is 64; it needs smaller: tile"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": small_fields(tmp_path, "drct") | change}).everything()


def test_a_convnext_with_other_classes_is_refused(tmp_path):
    torch.save({"model.stem.0.weight": torch.zeros(40, 3, 4, 4)}, tmp_path / "other.pth")
    fields = small_fields(tmp_path, "drct") | {"backbone": {"name": "timm:convnext_atto", "weights": "none"}}
    with pytest.raises(UserError, match=r"for 'drct' does not fit: \d+ tensors differ"):
        DrctMethod.begin(recipe_settings(**fields, weights=str(tmp_path / "other.pth")), None, None, CPU)
