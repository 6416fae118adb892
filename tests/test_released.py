"""Published detectors of a backbone and a linear layer: CNNDet, NPR, UniFD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from baseline_cases import ABSENT, FOLDER, Case, cases_of, listed
from small_runs import plan_of, scored, train_and_val, trained

from tellsign.data.images import center_window, resized
from tellsign.detectors.registry import RECIPES
from tellsign.detectors.released import ReleasedMethod, detector_state
from tellsign.errors import UserError
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.state import read_state
from tellsign.schema.loading import build

CPU = torch.device("cpu")
NETWORKS = {"cnndetection": "resnet50", "npr": "npr"}


def settings_of(backbone: str, file: Path) -> dict:
    """What the plan hands to the training."""
    recipe = build(
        RECIPES.load("released"), {"backbone": {"name": backbone, "weights": "none"}, "weights": str(file)}, "x"
    )
    network = {"name": backbone, "weights": str(file), "digest": "none"}
    return recipe.training_settings() | {"seed": 0, "network": network}


def on_black(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture with black around it where it is smaller than a crop."""
    pads = [(max(side - n, 0) // 2, (max(side - n, 0) + 1) // 2) for n in pixels.shape[:2]]
    return np.pad(pixels, [*pads, (0, 0)])


def as_tested(case: Case, number: int) -> np.ndarray:
    """A picture as the released code crops or squashes it."""
    pixels, side = case.stored[f"picture_{number}"].numpy(), 224
    height, width = case.shape(f"prepared_{number}")[-2:]
    if case.path.parent.name == "cnndetection":
        pixels = on_black(pixels, side)
        top, left = (round((n - side) / 2) for n in pixels.shape[:2])
        return pixels[top : top + side, left : left + side]
    if height == width == 256:
        return resized(pixels, mode="squash", size=256, filter="bilinear")
    return pixels[:height, :width]


@pytest.mark.parametrize("path", cases_of(*NETWORKS))
@torch.no_grad()
def test_a_case_of_the_public_code_comes_out_the_same(path, tmp_path):
    case, detector = Case(path), path.parent.name
    if not any(key.startswith("prepared_") for key in case.stored):
        pytest.skip("the case is of the training's augmentation alone")
    torch.save({"model": listed(detector), "total_steps": 4}, tmp_path / "published.pth")
    method = ReleasedMethod.begin(settings_of(NETWORKS[detector], tmp_path / "published.pth"), None, None, CPU)
    method.model.eval()
    for number in case.pictures:
        pixels = torch.from_numpy(as_tested(case, number).copy()).permute(2, 0, 1)[None]
        x = method.preprocess(pixels)
        case.compare(f"prepared_{number}", x[0], exact=True)
        features = method.model.backbone(x)
        case.compare(f"features_{number}", features[0])
        case.compare(f"logit_{number}", method.model(x))
    assert {key.partition("_")[0] for key in case.compared} == {"prepared", "features", "logit"}


@pytest.mark.parametrize("path", cases_of("swin-t"))
@torch.no_grad()
def test_genimages_swin_has_two_outputs_of_which_the_first_is_fake(path, tmp_path):
    case = Case(path)
    state = listed("swin-t", only="filled")
    torch.save({"model": state, "epoch": 3}, tmp_path / "published.pth")
    settings = settings_of("swin-t", tmp_path / "published.pth") | {"fake_class": 0}
    method = ReleasedMethod.begin(settings, None, None, CPU)
    swin, seen = method.model.eval().backbone.net, {}
    # timm counts a downsampling to the stage that it opens, the public code to the one that it closes
    for name, layer in {
        "patch_embed": "patch_embed",
        "layers_0": "layers.1.downsample",
        "layers_3": "layers.3",
    }.items():
        hook = lambda _layer, _inputs, output, name=name: seen.update({name: output[0].flatten(0, 1)})  # noqa: E731
        swin.get_submodule(layer).register_forward_hook(hook)
    for number in case.pictures:
        pixels = resized(case.stored[f"picture_{number}"].numpy(), mode="shorter", size=256, filter="bicubic")
        x = method.preprocess(torch.from_numpy(center_window(pixels, 224).copy()).permute(2, 0, 1)[None])
        case.compare(f"prepared_{number}", x[0], exact=True)
        fake, real = case.stored[f"logits_{number}"]
        torch.testing.assert_close(method.model(x)[0], fake - real, rtol=1e-5, atol=1e-5)
        case.compared[f"logits_{number}"] = 0.0
        for name, tokens in seen.items():
            case.compare(f"{name}_{number}", tokens)
    case.check_all_compared()


def test_two_outputs_become_one_logit_and_more_are_refused():
    draws = torch.Generator().manual_seed(0)
    weight, bias, x = (torch.randn(shape, generator=draws) for shape in ((2, 5), (2,), (3, 5)))
    own = {"backbone.net.x": torch.zeros(1)}
    for fake in (0, 1):
        state = detector_state({"head.weight": weight, "head.bias": bias}, own, fake)
        logit = x @ state["head.layer.weight"].T + state["head.layer.bias"]
        torch.testing.assert_close(logit.sigmoid()[:, 0], (x @ weight.T + bias).softmax(1)[:, fake])
    with pytest.raises(UserError, match=r"its layer fc\.weight has 3 outputs"):
        detector_state({"fc.weight": torch.zeros(3, 5), "fc.bias": torch.zeros(3)}, own)


def test_unifds_released_layer_gives_the_released_numbers():
    path = FOLDER / "unifd" / "case_A.safetensors"
    if not path.is_file():
        pytest.skip(ABSENT)
    case, own = Case(path), {"backbone.net.x": torch.zeros(1), "head.layer.bias": torch.zeros(1)}
    state = detector_state(read_state(FOLDER / "unifd" / "fc_weights.pth"), own)
    assert set(state) == {"backbone.net.x", "head.layer.weight", "head.layer.bias"}
    logits = case.stored["features"] @ state["head.layer.weight"].T + state["head.layer.bias"]
    torch.testing.assert_close(logits, case.stored["logits_published_fc"], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


def test_a_released_detector_is_planned_and_scored_without_training_images(data, tmp_path):
    torch.manual_seed(3)
    backbone, head = load_backbone("npr", "none", 7), torch.nn.Linear(512, 1)
    file = tmp_path / "published.pth"
    published = {key.removeprefix("net."): value for key, value in backbone.state_dict().items()}
    torch.save(published | {f"fc1.{key}": value for key, value in head.state_dict().items()}, file)
    recipe = {"method": "released", "backbone": {"name": "npr", "weights": "none"}, "weights": str(file)}
    runs = {"a": recipe | {"crop_test": 32}, "b": recipe | {"crop_test": 40, "bias": {"control": "jpeg"}}}
    plan = plan_of(tmp_path, runs)
    one, other = (plan.run("toys", name) for name in runs)
    checkpoint = plan.checkpoint(one, 0)
    assert checkpoint == plan.checkpoint(other, 0) and checkpoint.needs["inputs"] == []
    assert trained(data, tmp_path / "run", checkpoint) == []
    file.unlink()
    rows = scored(data, tmp_path / "run", plan.score(one))
    table = ReleasedMethod.readers["crops"](data / "val")
    x = backbone.eval().preprocess(table.center_crops(table.rows_of(rows["id"].to_pylist()), 32))
    with torch.no_grad():
        expected = head(backbone(x))[:, 0].sigmoid()
    assert rows["score"].to_pylist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_file_without_a_linear_layer_is_told(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "published.pth")
    with pytest.raises(UserError, match=r"published.pth' for 'npr': it holds no linear layer; known names: fc1.weight"):
        ReleasedMethod.begin(settings_of("npr", tmp_path / "published.pth"), None, None, CPU)


def test_a_released_recipe_trains_nothing():
    with pytest.raises(UserError, match="it trains nothing"):
        build(RECIPES.load("released"), {"backbone": {"name": "npr"}, "weights": "x", "epochs": 2}, "run x")
