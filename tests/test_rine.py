"""RINE: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from baseline_cases import FOLDER, Case, cases_of, listed, recipe_settings, with_filled_weights
from small_clips import (
    LAYERS,
    SIDE,
    attended,
    block_of,
    check_stages,
    check_what_moved,
    embedded,
    empty_tower,
    norm,
    perceived,
    small_fields,
    tiny_clip,
)
from small_runs import plan_of, scored, train_and_val, trained

from tellsign.detectors.rine import Rine, RineMethod, rine_loss
from tellsign.errors import UserError
from tellsign.networks.backbones.loading import load_backbone

CPU = torch.device("cpu")
VIEW = {"crop": 224, "smaller": "black", "canvas": None, "ten_crops": False}


# ---------------------------------------------------------------------------- against the public code's results


@torch.no_grad()
def outputs(case: Case, network: Rine, x: torch.Tensor, suffix: str = "") -> None:
    """Compare everything that follows from prepared images."""
    tokens = network.tokens(x)
    projected = network.proj1(tokens)
    for name, value in (("ln2_cls", tokens), ("proj1", projected)):
        case.compare(name + suffix, value[:, [0, 12, 23]])
    case.compare("tie" + suffix, network.mixed(projected))
    case.compare("z" + suffix, network.features(x))
    case.compare("logits" + suffix, network(x)[:, None])


@pytest.mark.parametrize("path", cases_of("rine"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case = Case(path)
    config = case.config["config"]
    network = with_filled_weights(Rine(empty_tower(), config["nproj"], config["proj_dim"]))
    method = RineMethod(network, {}, VIEW, CPU)
    rows = torch.arange(len(case.pictures))
    crops = method.views(case.table(), rows)[:, 0]
    x = method.preprocess(crops)
    for number in case.pictures:
        case.compare(f"crop_{number}", crops[number].permute(1, 2, 0), exact=True)
        case.compare(f"input_{number}", x[number, :, 3::8, 5::8], exact=True)
    outputs(case, network, x)
    if "ten_picture" in case.stored:
        table, ten = case.table("ten_picture"), RineMethod(network, {}, VIEW | {"ten_crops": True}, CPU)
        case.compare("ten_picture", table.image(0).permute(1, 2, 0), exact=True)
        x = ten.preprocess(ten.views(table, torch.tensor([0]))[0])
        case.compare("ten_inputs", x[:, :, 3::24, 5::24], exact=True)
        with torch.no_grad():
            case.compare("ten_logits", network(x)[:, None])
        case.compare("ten_score", torch.from_numpy(ten.scores({"crops": table}, ["0"], 4)))
    case.check_all_compared()


@pytest.mark.parametrize("path", cases_of("rine", kind="loss"))
def test_the_loss_and_its_gradients_are_those_of_the_public_code(path):
    case = Case(path)
    z, logits = (case.stored[name].clone().requires_grad_() for name in ("z", "logits"))
    factor, labels = case.config["factor"], case.stored["labels"]
    loss = rine_loss(logits[:, 0], z, labels, factor)
    loss.backward()
    bce = rine_loss(logits[:, 0], z, labels, 0.0)
    gradients = {"grad_z": z.grad, "grad_logits": logits.grad}
    for name, value in {"loss": loss, "bce_sum": bce, "supcon": (loss - bce) / factor, **gradients}.items():
        case.compare(name, value)
    case.compared |= dict.fromkeys(("z", "logits", "labels"), 0.0)
    case.check_all_compared()


def test_the_released_file_loads_as_people_have_it(monkeypatch):
    file = FOLDER / "rine" / "model_2class_trainable.pth"
    if not file.is_file():
        pytest.skip("needs the released file of RINE for two classes")
    monkeypatch.setattr("tellsign.detectors.rine.tower_of", lambda settings: empty_tower())
    settings = recipe_settings("rine", projections=4, width=128)
    settings["network"]["weights"] = str(file)
    own = RineMethod.begin(settings, None, None, CPU).model.state_dict()
    stored = torch.load(file, map_location="cpu", weights_only=True)
    assert all(torch.equal(own[name], value) for name, value in stored.items())
    assert set(own) - set(stored) == {name for name in own if name.startswith("clip.visual.")}
    settings["width"] = 64
    with pytest.raises(UserError, match=r"misshapen: alpha is \(1, 24, 128\), not \(1, 24, 64\)"):
        RineMethod.begin(settings, None, None, CPU)


def test_a_published_file_loads_by_its_own_names_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr("tellsign.detectors.rine.tower_of", lambda settings: empty_tower())
    state = listed("rine", only="yes")
    settings = recipe_settings("rine")
    settings["network"]["weights"] = str(tmp_path / "published.pth")
    torch.save(state, tmp_path / "published.pth")
    loaded = RineMethod.begin(settings, None, None, CPU).model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    torch.save({**state, "extra": state["alpha"]}, tmp_path / "published.pth")
    with pytest.raises(UserError, match=r"for 'rine' does not fit: 1 tensors differ.\n  unknown: extra"):
        RineMethod.begin(settings, None, None, CPU)


# --------------------------------------------------------------------------------------------- against slow code


def slow_tokens(state: dict[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """Class tokens after the second norm of each block of the tiny CLIP, for one prepared image."""
    x, found = embedded(state, image), []
    for number in range(LAYERS):
        block = block_of(state, number)
        x = attended(x, block)
        found.append(norm(x, block["ln_2.weight"], block["ln_2.bias"])[0])
        x = perceived(x, block)
    return np.stack(found)


@torch.no_grad()
def test_rine_is_that_of_loops(tmp_path):
    name, _ = tiny_clip(tmp_path)
    tower = load_backbone(name, str(tmp_path / "tiny.safetensors"), 0)
    torch.manual_seed(1)
    network = Rine(tower, 2, 5).double().eval()
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    image = np.random.default_rng(4).normal(size=(3, SIDE, SIDE))
    tokens = slow_tokens({key.removeprefix("clip.visual."): value for key, value in state.items()}, image)
    assert np.allclose(network.tokens(torch.from_numpy(image)[None])[0].numpy(), tokens, atol=1e-10)

    def layers(x: np.ndarray, *names: str) -> np.ndarray:
        for one in names:
            x = np.maximum(state[f"{one}.weight"] @ x + state[f"{one}.bias"], 0)
        return x

    projected = np.stack([layers(token, "proj1.1", "proj1.4") for token in tokens.astype(np.float32)])
    alpha = state["alpha"][0]
    z = np.zeros(5)
    for feature in range(5):
        shares = [math.exp(a) for a in alpha[:, feature]]
        z[feature] = sum(s * p for s, p in zip(shares, projected[:, feature], strict=True)) / sum(shares)
    z = layers(layers(z, "proj2.1", "proj2.4"), "head.0", "head.3")
    expected = state["head.6.weight"][0] @ z + state["head.6.bias"][0]
    network.proj1.float(), network.float()
    assert float(network(torch.from_numpy(image)[None].float())) == pytest.approx(expected, rel=1e-4)


def test_the_loss_is_that_of_loops():
    draws = np.random.default_rng(5)
    z, logits, labels = draws.normal(size=(5, 3)), draws.normal(size=5), np.array([0, 1, 1, 0, 2])[[0, 1, 2, 3, 1]]
    labels[3] = 2  # an anchor without a positive of its own
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    total = 0.0
    for i in range(5):
        others = [j for j in range(5) if j != i]
        scale = sum(math.exp(unit[i] @ unit[j] / 0.07) for j in others)
        positives = [j for j in others if labels[j] == labels[i]]
        terms = [-math.log(math.exp(unit[i] @ unit[j] / 0.07) / scale) for j in positives]
        total += sum(terms) / len(terms) if terms else 0.0
    entropy = sum(math.log1p(math.exp(-x if y == 1 else x)) for x, y in zip(logits, labels > 0, strict=True))
    fakes = torch.from_numpy((labels > 0).astype(np.int64))
    found = rine_loss(torch.from_numpy(logits), torch.from_numpy(z), fakes, 0.0)
    assert float(found) == pytest.approx(entropy)
    contrastive = rine_loss(torch.zeros(5), torch.from_numpy(z), torch.from_numpy(labels), 1.0)
    contrastive = contrastive - rine_loss(torch.zeros(5), torch.from_numpy(z), torch.from_numpy(labels), 0.0)
    assert float(contrastive) == pytest.approx(total / 5, rel=1e-5)


# ------------------------------------------------------------------------------------------ through the stages


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


@pytest.fixture
def small(tmp_path):
    return small_fields(tmp_path, "rine") | {"width": 8}


def test_it_is_planned_trained_and_scored(data, tmp_path, small):
    settings, log = check_stages(data, tmp_path, small | {"epochs": 11})
    augment = {"name": "blur_jpeg_of", "probability": 0.5, "sigma": [0.0, 3.0], "qualities": [30, 100]}
    assert settings["augment"] == augment
    assert [float(log[epoch]["lr"]) for epoch in (0, 4, 5, 10)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])
    start = RineMethod.begin(settings, None, None, CPU).model.state_dict()
    check_what_moved(tmp_path, start, r"^(alpha|proj1|proj2|head)")


def test_it_runs_on_the_demos_tower(data, tmp_path, small):
    demo = {"crop": 72, "crop_test": 72, "backbone": {"name": "demo-clip-vit", "weights": "shipped"}}
    plan = plan_of(tmp_path, {"rival": small | demo})
    run = plan.run("toys", "rival")
    trained(data, tmp_path / "run", plan.checkpoint(run, 0))
    assert len(set(scored(data, tmp_path / "run", plan.score(run))["score"].to_pylist())) > 1


def test_ten_crops_need_large_images(data, tmp_path, small):
    plan = plan_of(tmp_path, {"rival": small | {"ten_crops": True}, "centre": small})
    ten, centre = plan.run("toys", "rival"), plan.run("toys", "centre")
    assert plan.checkpoint(ten, 0) == plan.checkpoint(centre, 0) and plan.score(ten) != plan.score(centre)
    trained(data, tmp_path / "run", plan.checkpoint(ten, 0))
    assert len(set(scored(data, tmp_path / "run", plan.score(ten))["score"].to_pylist())) > 1
    settings = plan.checkpoint(ten, 0).settings
    method = RineMethod.restore(settings, ten.recipe.view() | {"crop": 41}, CPU)
    table = method.readers["crops"](data / "val")
    with pytest.raises(UserError, match="has no ten crops of 41; write ten_crops: false"):
        method.views(table, torch.arange(len(table)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "w.pth", "backbone": {"name": "clip-vit-l14", "weights": "none"}}, "hold no CLIP"),
        ({"epochs": 0}, "0 epochs train nothing; give weights"),
        ({"crop_test": 64}, "crop is 32, crop_test 64; a CLIP's tower takes one size"),
        ({"canvas": 48}, "canvas is 48; it needs smaller: tile"),
        ({"canvas": 16, "smaller": "tile"}, "and at least 32 pixels"),
        ({"augment": {"name": "blur_jpeg_of", "qualities": [0]}}, "give one or more numbers of 1 to 100"),
        ({"width": 0}, "width: 0 must be above 0"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, small, change, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": small | change}).everything()


@pytest.mark.parametrize(("name", "message"), [("clip-rn50", "a vision transformer"), ("clip-vit-b16", "crops of 224")])
def test_a_tower_that_does_not_fit_is_refused(tmp_path, small, name, message):
    crop = 224 if name == "clip-rn50" else 32
    fields = small | {"backbone": {"name": name, "weights": "none"}, "crop": crop, "crop_test": crop}
    with pytest.raises(UserError, match=message):
        RineMethod.begin(recipe_settings(**fields), None, None, CPU)
