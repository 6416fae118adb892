"""Patchfor: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, check_published_file, listed, with_filled_weights
from small_runs import check_run, plan_of, train_and_val
from test_rivals import convolved, random_weights

from tellsign.data.images import center_window, resized
from tellsign.detectors.patchfor import READINGS, Patchfor, PatchforMethod
from tellsign.detectors.recipes.patchfor import SHORTER
from tellsign.errors import UserError
from tellsign.schema.loading import plain

SMALL = {"method": "patchfor", "resize": None, "resize_test": None, "crop": 32, "crop_test": 32, "batch_size": 6,
         "epochs": 2}  # fmt: skip


def both(reading: str, patches: torch.Tensor) -> torch.Tensor:
    """What a reading says of fake and of real."""
    fake = READINGS[reading](patches).sigmoid()
    return torch.cat([fake, 1 - fake])


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("patchfor"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case, about = Case(path), json.loads(path.with_suffix(".json").read_text())["tensors"]
    for number in case.pictures:
        picture = resized(case.stored[f"picture_{number}"].numpy(), **plain(SHORTER))
        pixels = torch.from_numpy(center_window(picture, SHORTER.size)).permute(2, 0, 1)[None]
        network = with_filled_weights(Patchfor())
        x = PatchforMethod(network, {}, SHORTER.size, torch.device("cpu")).preprocess(pixels)
        case.compare(f"prepared_{number}", x[0])
        maps = network.maps(x)
        for name, value in zip(("relu2", "block1", "block2"), maps, strict=True):
            case.compare(f"{name}_{number}", value[0])
        patches = network.convout(maps[-1])
        case.compare(f"logits_{number}", patches[0])
        for reading in READINGS:
            case.compare(f"{reading}_{number}", both(reading, patches))
            if key := next((key for key in case.stored if key == f"shifted_{reading}_{number}"), None):
                (shift,) = re.findall(r"adding (\S+) to channel 1", about[key]["what"])
                shifted = patches + torch.tensor([0.0, float(shift)])[:, None, None]
                case.compare(key, both(reading, shifted))
        case.compare(f"logits64_{number}", lambda x=x, net=network: net.double().patch_logits(x.double())[0])
        for key in [key for key in case.stored if re.fullmatch(rf"logits_block\d+_{number}", key)]:
            other = with_filled_weights(Patchfor(int(key.split("_")[1].removeprefix("block"))))
            case.compare(key, other.patch_logits(x)[0])
    case.check_all_compared()


@pytest.mark.parametrize(("file", "blocks"), [("tensors.tsv", 2), ("tensors_block5.tsv", 5)])
def test_a_published_state_loads_by_its_own_names(tmp_path, file, blocks):
    check_published_file(tmp_path, PatchforMethod, "patchfor", listed("patchfor", file), blocks=blocks)
    parameters = sum(value.numel() for value in Patchfor(blocks).parameters())
    assert blocks != 2 or round(parameters / 1e3) == 191


@torch.no_grad()
def test_readings_are_those_of_patches_one_by_one():
    patches = torch.randn(3, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for image in patches:
        places = [image[:, y, x].tolist() for y in range(4) for x in range(5)]
        after = np.mean([np.exp(fake) / (np.exp(fake) + np.exp(real)) for fake, real in places])
        fake, real = np.mean(places, axis=0)
        votes = np.mean([fake >= real for fake, real in places])
        found = {reading: float(READINGS[reading](image[None]).sigmoid()) for reading in READINGS}
        expected = {"before_softmax": np.exp(fake) / (np.exp(fake) + np.exp(real)), "after_softmax": after}
        assert found == pytest.approx(expected | {"vote": votes})
    assert float(READINGS["vote"](torch.zeros(1, 2, 2, 2)).sigmoid()) == 1.0  # a tie is the first class


@torch.no_grad()
def test_a_network_of_one_block_is_that_of_loops():
    network = random_weights(Patchfor(1))
    state = {name: value.numpy() for name, value in network.state_dict().items()}

    def normed(x: np.ndarray, layer: str) -> np.ndarray:
        mean, var, weight, bias = (
            state[f"{layer}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * weight + bias

    def separable(x: np.ndarray, layer: str) -> np.ndarray:
        kernels = state[f"{layer}.conv1.weight"]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        apart = np.concatenate([convolved(one[None], k[None]) for one, k in zip(padded, kernels, strict=True)])
        return np.tensordot(state[f"{layer}.pointwise.weight"][..., 0, 0], apart, (1, 0))

    image = np.random.default_rng(1).normal(size=(3, 13, 13))
    x = np.maximum(normed(convolved(image, state["conv1.weight"], 2), "bn1"), 0)
    x = np.maximum(normed(convolved(x, state["conv2.weight"]), "bn2"), 0)
    y = np.maximum(normed(separable(x, "block1.rep.0"), "block1.rep.1"), 0)
    y = np.pad(normed(separable(y, "block1.rep.3"), "block1.rep.4"), ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    side = (y.shape[1] - 3) // 2 + 1
    windows = [[y[:, i : i + 3, j : j + 3].max((1, 2)) for j in range(0, 2 * side, 2)] for i in range(0, 2 * side, 2)]
    skip = normed(convolved(x, state["block1.skip.weight"], 2), "block1.skipbn")
    expected = np.tensordot(state["convout.weight"][..., 0, 0], np.array(windows).transpose(2, 0, 1) + skip, (1, 0))
    expected += state["convout.bias"][:, None, None]
    assert np.allclose(network.patch_logits(torch.from_numpy(image)[None])[0].numpy(), expected, rtol=1e-9)


@torch.no_grad()
def test_the_loss_is_the_cross_entropy_of_all_patches():
    network = random_weights(Patchfor(1)).float()
    method = PatchforMethod(network, {}, 32, torch.device("cpu"))
    pixels, labels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), torch.tensor([1, 0])
    patches = network.patch_logits(method.preprocess(pixels))
    classes = (1 - labels)[:, None, None].expand(-1, *patches.shape[2:])  # class 0 is fake
    expected = torch.nn.functional.cross_entropy(patches, classes)
    assert float(method.loss(pixels, labels, torch.Generator())) == pytest.approx(float(expected), rel=1e-5)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


def test_it_is_planned_trained_and_scored(data, tmp_path):
    assert float(check_run(data, tmp_path, SMALL)[0]["lr"]) == 1e-3


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"blocks": 12}, "less than or equal to 11"),
        ({"reading": "mean"}, "after_softmax"),
        ({"epochs": 0}, "0 epochs train nothing; give weights"),
        ({"stop": {"split": "val"}, "keep": 3}, "early stopping keeps the best epoch alone"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": {"method": "patchfor"} | run}).everything()
