"""GramNet: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, check_published_file, listed, recipe_settings, with_filled_weights
from safetensors.torch import save_file
from small_runs import check_run, plan_of, train_and_val
from test_rivals import convolved, random_weights

from tellsign.data.images import recompress
from tellsign.data.opencv import resize_bilinear
from tellsign.data.pixels import PixelTable
from tellsign.detectors.gramnet import BRANCHES, BlueFirst, GramNet, GramNetMethod, gram
from tellsign.detectors.registry import RECIPES
from tellsign.errors import UserError

CPU = torch.device("cpu")
SMALL = {"method": "gramnet", "weights": "none", "shrink": [16, 24], "crop": 32, "crop_test": 32, "batch_size": 6,
         "resize_test": {"mode": "squash", "size": 32, "filter": "opencv"}, "epochs": 2}  # fmt: skip


def prepared(picture: np.ndarray, path: str) -> torch.Tensor:
    """A picture's input by the words of the case: JPEG if it is named, then each size that is."""
    for quality in re.findall(r"JPEG quality (\d+)", path):
        picture = recompress(picture, int(quality))
    for side in re.findall(r"(\d+)x\1", path):
        picture = resize_bilinear(picture, int(side), int(side))
    return BlueFirst()(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None])


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("gramnet"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case, network = Case(path), with_filled_weights(GramNet())
    ways = {one["index"]: one["path"] for one in json.loads(path.with_suffix(".json").read_text())["pictures"]}
    for number in case.pictures:
        x = prepared(case.stored[f"picture_{number}"].numpy(), ways[number])
        case.compare(f"prepared_{number}", x[0], exact=True)
        seen = network.stages(x)
        for branch, maps in enumerate(seen[:-1]):
            case.compare(f"gram_{branch}_{number}", gram(network.get_submodule(BRANCHES[branch][0])(maps))[0])
            case.compare(f"texture_{branch}_{number}", network.texture(maps, branch)[0])
        joined = network.joined(seen)
        case.compare(f"joined_{number}", joined[0])
        case.compare(f"logits_{number}", network.fcnewr(joined)[0])
        case.compare(f"logprob_{number}", network.fcnewr(joined).log_softmax(1)[0])
        case.compare(f"logprob64_{number}", network.double().logits(x.double()).log_softmax(1)[0])
        network.float()
    case.check_all_compared()


def test_a_published_state_loads_by_its_own_names(tmp_path):
    check_published_file(tmp_path, GramNetMethod, "gramnet", listed("gramnet"))
    assert round(sum(value.numel() for value in GramNet().parameters()) / 1e3) == 11735


@torch.no_grad()
def test_a_score_is_the_softmax_of_the_first_output():
    network, x = random_weights(GramNet()), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert torch.allclose(network(x).sigmoid(), network.logits(x).softmax(1)[:, 0], rtol=1e-12)


def test_imagenets_trunk_is_taken_and_nothing_but_a_trunk(tmp_path):
    import timm

    trunk = timm.create_model("resnet18", pretrained=False, num_classes=1000).state_dict()
    file = tmp_path / "resnet18.safetensors"
    save_file(trunk, file)
    loaded = GramNetMethod.begin(recipe_settings("gramnet", str(file)), None, None, CPU).model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trunk.items() if not name.startswith("fc."))
    with pytest.raises(UserError, match="holds ImageNet's classes, not a published gramnet"):
        GramNetMethod.begin(recipe_settings("gramnet", str(file), epochs=0), None, None, CPU)
    save_file({name: value for name, value in trunk.items() if name != "layer3.0.conv1.weight"}, file)
    with pytest.raises(UserError, match=r"1 tensors differ.\n  missing: layer3.0.conv1.weight"):
        GramNetMethod.begin(recipe_settings("gramnet", str(file)), None, None, CPU)


@torch.no_grad()
def test_a_texture_branch_is_that_of_loops():
    network = random_weights(GramNet())
    state = {name: value.numpy() for name, value in network.state_dict().items()}

    def layer(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        x = convolved(np.pad(x, ((0, 0), (1, 1), (1, 1))), state[f"{name}.0.weight"], stride)
        mean, var, weight, bias = (
            state[f"{name}.1.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return np.maximum((x - mean) / np.sqrt(var + 1e-5) * weight + bias, 0)

    image = np.random.default_rng(0).normal(size=(3, 6, 5))
    maps = layer(image, "conv_interi_0")
    products = np.array([[sum(a * b for a, b in zip(one.flat, two.flat, strict=True)) for two in maps] for one in maps])
    texture = layer(layer(products[None] / (32 * 6 * 5), "gi_fc1", 2), "gi_fc2", 2).mean((1, 2))
    assert np.allclose(network.texture(torch.from_numpy(image)[None], 0)[0].numpy(), texture, rtol=1e-9)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


def test_training_images_are_shrunk_by_a_side_that_is_drawn_then_enlarged(data):
    settings = recipe_settings("gramnet", "none", shrink=[16, 17], crop=32)
    table, rows = PixelTable.open(data / "train"), torch.arange(12)
    found = GramNetMethod(torch.nn.Identity(), settings, 32, CPU).training_crops(table, rows, torch.Generator())
    images = [table.image(row).permute(1, 2, 0).numpy() for row in range(12)]
    ways = [[resize_bilinear(resize_bilinear(image, side, side), 32, 32) for side in (16, 17)] for image in images]
    fits = [
        [np.array_equal(one.permute(1, 2, 0).numpy(), way) for way in two] for one, two in zip(found, ways, strict=True)
    ]
    assert all(sum(both) == 1 for both in fits) and 0 < sum(both[0] for both in fits) < 12


def test_it_is_planned_trained_and_scored(data, tmp_path):
    assert float(check_run(data, tmp_path, SMALL)[0]["lr"]) == 1e-5


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"shrink": [99, 64]}, "runs backwards"),
        ({"epochs": 0, "weights": "none"}, "0 epochs train nothing; give weights"),
        ({"resize_test": {"mode": "squash", "size": 512, "filter": "cv2"}}, "opencv"),
        ({"weights": "shipped"}, "gramnet has not"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": {"method": "gramnet"} | run}).everything()


def test_early_stopping_looks_at_images_as_they_are_tested():
    recipe = RECIPES.load("gramnet")(crop=256)
    (source,) = recipe.validation_inputs().values()
    assert (source.side, source.resize.size, source.resize.filter) == (256, 256, "opencv")
