"""FreqNet, LaDeDa and Tiny-LaDeDa: against their public code's results, against slow code, and through the stages."""

from __future__ import annotations

import csv
import functools
import json
from typing import Any

import numpy as np
import pytest
import torch
from baseline_cases import (
    Case,
    Network,
    cases_of,
    check_published_file,
    listed,
    recipe_settings,
    with_filled_weights,
)
from small_runs import check_run, plan_of, scored, train_and_val, trained

from tellsign.data.images import resized
from tellsign.detectors.freqnet import FreqNet, FreqNetMethod, HighPass
from tellsign.detectors.ladeda import KERNELS, Ladeda, LadedaMethod, TinyLadeda, TinyLadedaMethod, front, patches_of
from tellsign.detectors.on_crops import IMAGENET_MEAN, IMAGENET_STD
from tellsign.detectors.registry import RECIPES
from tellsign.errors import UserError
from tellsign.networks.backbones.backbone import Standardise
from tellsign.schema.loading import plain
from tellsign.stages import train

CPU = torch.device("cpu")
SMALL = {"crop": 32, "crop_test": 32, "resize": None, "resize_test": None, "batch_size": 6, "epochs": 2}


# ---------------------------------------------------------------------------- against the public code's results


def prepared(case: Case, number: int) -> torch.Tensor:
    """A picture's input, compared to the bit: squashed where the case's is a square of another size."""
    pixels = case.stored[f"picture_{number}"].numpy()
    height, width = case.shape(f"prepared_{number}")[-2:]
    if (height, width) != pixels.shape[:2]:
        resize = RECIPES.load("freqnet").model_fields["resize"].default
        assert (height, width) == (resize.size, resize.size)
        pixels = resized(pixels, **plain(resize))
    x = Standardise(IMAGENET_MEAN, IMAGENET_STD)(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    case.compare(f"prepared_{number}", x[0], exact=True)
    return x


@torch.no_grad()
def freqnet_case(case: Case) -> None:
    network = with_filled_weights(FreqNet())
    seen: dict[str, torch.Tensor] = {}
    high: list[torch.Tensor] = []

    def keep_output(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        high.append(output)

    def keep_input(name: str, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[name] = inputs[0]

    for unit in (network.spatial, network.channel):
        unit.register_forward_hook(keep_output)
    for name, layer in (("maxpool_in", network.maxpool), ("layer2_in", network.layer2), ("features", network.fc1)):
        layer.register_forward_pre_hook(functools.partial(keep_input, name))
    for number in case.pictures:
        high.clear()
        case.compare(f"logit_{number}", network(prepared(case, number)))
        for name, value in [*seen.items(), *((f"high_{unit}", value) for unit, value in enumerate(high))]:
            case.compare(f"{name}_{number}", value[0])
    for name, value in network.named_parameters():
        if name.startswith(("weight", "realconv", "imagconv")):
            value *= 4
    for number in case.pictures:
        case.compare(f"logit_gain4_{number}", network(prepared(case, number)))
        case.compare(f"features_gain4_{number}", seen["features"][0])


@torch.no_grad()
def ladeda_case(case: Case) -> None:
    networks = {"ladeda": with_filled_weights(Ladeda()), "tiny": with_filled_weights(TinyLadeda())}
    for number in case.pictures:
        x = prepared(case, number)
        side = min(x.shape[-2:])
        for name, network in networks.items():
            case.compare(f"{name}_front_{number}", front(x, network.front)[0])
            case.compare(f"{name}_patches_{number}", network.patch_logits(x))
            case.compare(f"{name}_logit_{number}", network(x))
            case.compare(f"{name}_pool_{number}", network(x[..., :side, :side]))
    x = prepared(case, case.pictures[-1])
    for kernel in KERNELS:
        case.compare(f"gradient_{kernel}", front(x, kernel)[0])


CHECKS = {"freqnet": freqnet_case, "ladeda": ladeda_case}


@pytest.mark.parametrize("path", cases_of(*CHECKS))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case = Case(path)
    CHECKS[path.parent.name](case)
    case.check_all_compared()


PUBLISHED = [(FreqNetMethod, "freqnet", "freqnet", "tensors.tsv"), (LadedaMethod, "ladeda", "ladeda", "tensors.tsv"),
             (TinyLadedaMethod, "tiny-ladeda", "ladeda", "tensors_tiny.tsv")]  # fmt: skip


@pytest.mark.parametrize(("method", "name", "folder", "file"), PUBLISHED, ids=[name for _, name, *_ in PUBLISHED])
def test_a_published_file_loads_by_its_own_names(tmp_path, method, name, folder, file):
    check_published_file(tmp_path, method, name, listed(folder, file))


# --------------------------------------------------------------------------------------------- against slow code


def random_weights(network: Network, seed: int = 0) -> Network:
    """A network ready for evaluation; its statistics and biases are not those of a start."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator) / max(1, value[:1].numel()) ** 0.5)
        if name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return network.double().eval()


def transform(n: int) -> np.ndarray:
    """The unitary matrix of the discrete Fourier transform, frequencies ascending from -(n // 2)."""
    frequencies, places = np.arange(n) - n // 2, np.arange(n)
    return np.exp(-2j * np.pi * frequencies[:, None] * places / n) / n**0.5


def slow_high_pass(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    spectrum = x.astype(complex)
    for axis in axes:
        spectrum = np.moveaxis(np.tensordot(transform(x.shape[axis]), spectrum, (1, axis)), 0, axis)
    low = [slice(None)] * x.ndim
    for axis in axes:
        n = x.shape[axis]
        low[axis] = slice(n // 2 - n // 4, n // 2 + n // 4)
    spectrum[tuple(low)] = 0
    for axis in axes:
        spectrum = np.moveaxis(np.tensordot(transform(x.shape[axis]).conj().T, spectrum, (1, axis)), 0, axis)
    return np.maximum(np.real(spectrum), 0)


@pytest.mark.parametrize("axes", [(2, 3), (1,)])
@pytest.mark.parametrize("shape", [(2, 8, 6, 4), (1, 7, 9, 11)])
def test_the_high_pass_is_that_of_explicit_transforms(axes, shape):
    x = np.random.default_rng(1).normal(size=shape)
    expected = slow_high_pass(x, axes)
    assert np.allclose(HighPass(*(axis - 4 for axis in axes))(torch.from_numpy(x)).numpy(), expected, atol=1e-12)
    assert 0.2 < (expected > 0).mean() < 0.8


@torch.no_grad()
def test_a_frequency_stage_is_that_of_explicit_transforms():
    network, x = random_weights(FreqNet()), np.random.default_rng(2).normal(size=(1, 64, 6, 10))
    found = network.frequency_stage(torch.from_numpy(x), 2, stride=2, channels=True).numpy()
    weight, bias, real, imaginary = (
        network.state_dict()[name].numpy() for name in ("weight2", "bias2", "realconv2.weight", "imagconv2.weight")
    )
    kept = slow_high_pass(x, (2, 3))[..., ::2, ::2]
    convolved = np.maximum(np.einsum("oi,bihw->bohw", weight[..., 0, 0], kept) + bias[:, None, None], 0)
    rows, columns = transform(3), transform(5)
    spectrum = rows @ slow_high_pass(convolved, (1,)) @ columns.T
    mixed = [
        np.einsum("oi,bihw->bohw", w[..., 0, 0], part)
        for w, part in ((real, np.real(spectrum)), (imaginary, np.imag(spectrum)))
    ]
    expected = np.maximum((rows.conj().T @ (mixed[0] + 1j * mixed[1]) @ columns.conj()).real, 0)
    assert np.allclose(found, expected, atol=1e-12)


def convolved(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    """A convolution without padding, place by place."""
    k, (h, w) = weight.shape[-1], x.shape[1:]
    places = [[(i, j) for j in range(0, w - k + 1, stride)] for i in range(0, h - k + 1, stride)]
    cells = [[(weight * x[:, i : i + k, j : j + k]).sum((1, 2, 3)) for i, j in row] for row in places]
    return np.array(cells).transpose(2, 0, 1)


@torch.no_grad()
def test_tiny_ladeda_is_that_of_loops():
    network = random_weights(TinyLadeda())
    state = {name: value.numpy() for name, value in network.state_dict().items()}

    def normed(x: np.ndarray, layer: str) -> np.ndarray:
        mean, var, weight, bias = (
            state[f"{layer}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return np.maximum((x - mean) / np.sqrt(var + 1e-5) * weight + bias, 0)

    image = np.random.default_rng(3).normal(size=(3, 10, 12))
    padded, kernel = np.pad(image, ((0, 0), (1, 1), (1, 1))), np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]])
    x = np.stack([convolved(channel[None], kernel[None, None])[0] for channel in padded])
    x = normed(convolved(convolved(x, state["conv1.weight"]), state["conv2.weight"]), "bn1")
    x = normed(convolved(x, state["layer1.0.conv1.weight"]), "layer1.0.bn1")
    x = normed(convolved(x, state["layer1.0.conv2.weight"], 2), "layer1.0.bn2")
    expected = np.tensordot(state["fc.weight"][0], x, (0, 0)) + state["fc.bias"]
    found = torch.from_numpy(image)[None]
    assert np.allclose(network.patch_logits(found)[0].numpy(), expected, atol=1e-12)
    assert float(network(found)) == pytest.approx(expected.mean())


@torch.no_grad()
def test_ladedas_patches_are_windows_of_nine_pixels_alone():
    network = random_weights(Ladeda(front="raw"))
    x = torch.randn(1, 3, 26, 33, dtype=torch.float64)
    alone = [[network(x[..., i : i + 9, j : j + 9]) for j in range(0, 25, 8)] for i in range(0, 18, 8)]
    expected = torch.tensor(alone, dtype=torch.float64)
    found = network.patch_logits(x)[0]
    assert found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-10)
    assert float(network(x)) == pytest.approx(float(expected.mean()))


@torch.no_grad()
def test_tiny_ladedas_patches_are_those_of_its_teacher():
    network, x = random_weights(Ladeda()), torch.randn(2, 3, 32, 40, dtype=torch.float64)
    patches = patches_of(x)
    assert torch.allclose(network(patches), network.patch_logits(x).flatten(), rtol=1e-10)
    assert torch.equal(patches[1], x[0, :, :10, 8:18]) and len(patches) == 2 * 3 * 4


# ------------------------------------------------------------------------------------------ through the stages


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


@pytest.mark.parametrize("method", ["freqnet", "ladeda"])
def test_a_detector_is_planned_trained_and_scored(data, tmp_path, method):
    log = check_run(data, tmp_path, {"method": method} | SMALL)
    assert float(log[0]["lr"]) == {"freqnet": 1e-3, "ladeda": 2e-4}[method]


def test_early_stopping_keeps_the_best_epoch(data, tmp_path):
    stop = {"patience": 1, "factor": 0.1, "min_lr": 1e-4, "delta": 1.1}  # no epoch after the first is progress
    given = recipe_settings("freqnet", **SMALL | {"epochs": 9, "stop": stop})
    train.main(settings=given, split=data / "train.parquet", inputs={"crops": data / "train"},
               validation_split=data / "val.parquet", validation_inputs={"crops": data / "val"},
               out=tmp_path / "run", work=tmp_path / "work", device="cpu")  # fmt: skip
    log = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    assert [float(row["lr"]) for row in log] == pytest.approx([1e-3, 1e-3, 1e-4])
    assert all(0 <= float(row["accuracy"]) <= 1 for row in log)
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["epoch"] == 1


def test_tiny_ladeda_learns_from_a_run_of_ladeda(data, tmp_path):
    tiny = SMALL | {"method": "tiny-ladeda", "teacher": "run:big", "epochs": 30, "optimiser": {"lr": 0.01}}
    plan = plan_of(tmp_path, {"big": SMALL | {"method": "ladeda"}, "tiny": tiny})
    big, student = (plan.checkpoint(plan.run("toys", name), 0) for name in ("big", "tiny"))
    assert [artifact for _, artifact in student.needs["start"]] == [big]
    trained(data, tmp_path / "big", big)
    log = trained(data, tmp_path / "tiny", student, start=tmp_path / "big")
    assert float(log[-1]["loss"]) < float(log[0]["loss"]) / 2
    scores = scored(data, tmp_path / "tiny", plan.score(plan.run("toys", "tiny")))["score"].to_pylist()
    assert len(set(scores)) > 1
    with pytest.raises(UserError, match="must be a run of method: ladeda, not tiny-ladeda"):
        trained(data, tmp_path / "other", student, start=tmp_path / "tiny")


def test_a_published_checkpoint_is_scored_as_it_is(data, tmp_path):
    torch.manual_seed(5)
    network = TinyLadeda()
    torch.save(network.state_dict(), tmp_path / "published.pth")
    weights = str(tmp_path / "published.pth")
    runs = {"released": SMALL | {"method": "tiny-ladeda", "weights": weights, "epochs": 0}}
    plan = plan_of(tmp_path, runs)
    released = plan.run("toys", "released")
    checkpoint = plan.checkpoint(released, 0)
    assert checkpoint.settings["network"]["weights"] == weights and "weights" not in checkpoint.settings
    assert trained(data, tmp_path / "run", checkpoint) == []
    rows = scored(data, tmp_path / "run", plan.score(released))
    inputs = TinyLadedaMethod(network.eval(), {}, 32, CPU)
    table = inputs.readers["crops"](data / "val")
    expected = inputs.scores({"crops": table}, rows["id"].to_pylist(), 64)
    assert rows["score"].to_pylist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"method": "freqnet", "epochs": 0}, "0 epochs train nothing; give weights"),
        ({"method": "ladeda", "crop": 31}, "must be even"),
        ({"method": "tiny-ladeda"}, "it learns from a run of LaDeDa: write teacher"),
        ({"method": "tiny-ladeda", "teacher": "pretrain:x"}, "it must be run:NAME"),
        ({"method": "tiny-ladeda", "teacher": "run:x", "weights": "w.pth"}, "has weights and a teacher"),
        ({"method": "tiny-ladeda", "teacher": "run:x", "crop": 36}, "a multiple of 8"),
        ({"method": "freqnet", "schedule": {"warmup": 90}}, "schedule.warmup is 90 of 85 epochs"),
        ({"method": "freqnet", "weights": "shipped"}, "freqnet has not"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": run}).everything()
