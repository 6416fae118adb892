"""Spec, Frank and FreDect: against their public code's results, against slow code, and through the stages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, check_published_file, filled, listed, recipe_settings, with_filled_weights
from small_runs import check_run, plan_of, train_and_val
from torch import nn

from tellsign.data.images import center_window, resized
from tellsign.data.opencv import resize_bilinear
from tellsign.data.perturbations.filters import gaussian_blur, jpeg_roundtrip, resize_cubic
from tellsign.detectors.frank import FrankMethod, FreDectMethod, LogCosines, Statistics, mean_and_variance
from tellsign.detectors.recipes.frank import LARGE
from tellsign.detectors.spec import BANDS, SpecMethod, Spectrum
from tellsign.errors import UserError
from tellsign.networks.coefficients import CLASSIFIERS
from tellsign.networks.resnets import resnet
from tellsign.schema.loading import plain
from tellsign.training.optimisers.build import build_optimiser

CPU = torch.device("cpu")
SMALL = {"weights": "none", "resize": None, "resize_test": None, "crop": 32, "crop_test": 32, "batch_size": 6,
         "epochs": 2}  # fmt: skip


def pixels_of(image: np.ndarray) -> torch.Tensor:
    """A batch of one image."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None]


# ---------------------------------------------------------------------------- against the public code's results


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("spec"))
def test_a_case_of_spec_comes_out_the_same(path):
    case, network = Case(path), with_filled_weights(resnet("resnet34", 2))
    for number in case.pictures:
        image = case.stored[f"picture_{number}"].numpy()
        if image.shape[:2] != (256, 256):
            image = resize_bilinear(image, 256, 256)
            case.compare(f"resized_{number}", torch.from_numpy(image[..., ::-1].copy()), exact=True)
        pixels = pixels_of(center_window(image, 224))
        spectra = [Spectrum(band)(pixels)[0] for band in BANDS]
        case.compare(f"spectrum_{number}", spectra[0])
        for mode in (1, 2, 3):
            case.compare(f"spectrum_mode{mode}_{number}", spectra[mode])
        case.compare(f"image_feature_{number}", (pixels[0].flip(0) / 255 - 0.5) * 2)
        outputs = network[:-1]
        case.compare(f"logits_{number}", outputs(spectra[0][None])[0])
        case.compare(f"logits64_{number}", outputs.double()(spectra[0][None].double())[0])
        network.float()
    case.check_all_compared()


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """As the public code orders axes."""
    return x.movedim(-3, -1)


def within_a_level(case: Case, key: str, image: np.ndarray) -> None:
    """OpenCV rounds in whole numbers: some pixels may differ by one level."""
    if key in case.stored:
        assert np.abs(image.astype(int) - case.stored[key].numpy()).max() <= 1, key
        case.compared[key] = 1.0


def perturbed(case: Case, image: np.ndarray) -> None:
    """The public code's perturbations, by what the project makes its own of."""
    for key in [key for key in case.stored if key.startswith("blur_kernel")]:
        within_a_level(case, key, gaussian_blur(image, int(key.removeprefix("blur_kernel")), 4.0))
    draws = np.random.RandomState(7)
    noisy = image + draws.uniform(5, 20) * draws.normal(size=image.shape)
    within_a_level(case, "perturbed_noise", np.clip(noisy, 0, 255).astype(np.uint8))
    kernel = (3, 5, 7, 9)[np.random.RandomState(7).randint(4)]
    within_a_level(case, "perturbed_blur", gaussian_blur(image, kernel, 4.0))
    within_a_level(case, "perturbed_jpeg", jpeg_roundtrip(image[..., ::-1], 95)[..., ::-1])
    height, width = image.shape[:2]
    share = np.random.RandomState(7).uniform(5, 20) / 100
    y, x = int(height * share / 2), int(width * share / 2)
    within_a_level(case, "perturbed_cropping", resize_cubic(image[y : height - y, x : width - x], height, width))


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("frank-dct"))
def test_a_case_of_frank_comes_out_the_same(path):
    case = Case(path)
    log = LogCosines()
    train = case.stored["train"].movedim(-1, 1)
    mean, variance = mean_and_variance(log(part) for part in train.split(4))
    case.compare("mean", channels_last(mean))
    case.compare("variance", channels_last(variance))
    side, inputs = train.shape[-1], []
    statistics = Statistics(side)
    statistics.mean, statistics.variance = mean, variance
    for number in [number for number in case.pictures if f"log_{number}" in case.stored]:
        pixels = case.stored[f"picture_{number}"].movedim(-1, 0)[None]
        logarithms = log(pixels)
        case.compare(f"log_{number}", channels_last(logarithms[0]))
        magnitudes = channels_last(logarithms[0].exp() - 1e-12)  # their signs are lost to all networks
        case.compare(f"dct_{number}", magnitudes * case.stored[f"dct_{number}"].sign())
        case.compare(f"normalised_{number}", channels_last((logarithms[0] - mean) / variance.sqrt()))
        case.compare(f"pixels_{number}", channels_last(pixels[0] / 127.5 - 1))
        inputs.append(statistics(logarithms))
    for key in [key for key in case.stored if key.startswith("out_")]:
        name, outputs = key.removeprefix("out_").rstrip("5"), case.stored[key].shape[1]
        network = nn.Sequential(CLASSIFIERS[name](side, outputs))
        own = getattr(network, "residual", network)
        own.load_state_dict(filled(own.state_dict()))
        found = network.eval()(torch.cat(inputs))
        case.compare(key, found.sigmoid() if outputs == 1 else found.softmax(1))
    fredect(case)
    perturbed(case, case.stored["picture_0"].numpy())
    case.compared["train"] = 0.0  # what is given
    case.check_all_compared()


@torch.no_grad()
def fredect(case: Case) -> None:
    """The part of a case that is FreDect's."""
    (number,) = [number for number in case.pictures if f"log_{number}" not in case.stored]
    image = resized(case.stored[f"picture_{number}"].numpy(), **plain(LARGE))
    names = {"mean": "dct.running_mean", "variance": "dct.running_var"}
    values = filled({name: torch.zeros(3, 224, 224) for name in names.values()})
    network = with_filled_weights(FreDectMethod.network({"crop": 224}))
    for name, key in names.items():
        network.get_submodule("statistics").get_buffer(name).copy_(values[key])
    logarithms = LogCosines()(pixels_of(center_window(image, 224)))
    x = network[0](logarithms)
    case.compare("fredect_input", x[0])
    case.compare("fredect_logit", network(logarithms))
    case.compare("fredect_logit64", network[1:].double()(x.double()))


# ------------------------------------------------------------------------------------------------ published files


def test_a_published_state_of_spec_loads_by_its_own_names(tmp_path):
    check_published_file(tmp_path, SpecMethod, "spec", listed("spec"))


def test_a_published_state_of_the_cnn_loads_with_its_statistics(tmp_path):
    own = {f"statistics.{name}": torch.rand(3, 128, 128) for name in ("mean", "variance")}
    check_published_file(tmp_path, FrankMethod, "frank", own | listed("frank-dct"), version="cnn")
    state = own | listed("frank-dct", "tensors_ridge.tsv")
    check_published_file(tmp_path, FrankMethod, "frank", state, version="ridge")


def test_fredects_published_files_load_from_their_folder(tmp_path):
    state = listed("frank-dct", "tensors_fredect_resnet50.tsv")
    torch.save({"netC": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "DCTAnalysis.pth")
    (tmp_path / "auxiliary").mkdir()
    torch.save(torch.full((3, 224, 224), 0.5), tmp_path / "auxiliary" / "dct_mean")
    settings = recipe_settings("fredect", str(tmp_path), epochs=0)
    with pytest.raises(UserError, match="dct_var"):
        FreDectMethod.begin(settings, None, None, CPU)
    torch.save(torch.full((3, 224, 224), 2.0), tmp_path / "auxiliary" / "dct_var")
    loaded = FreDectMethod.begin(settings, None, None, CPU).model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items()) and len(loaded) == len(state) + 2
    assert float(loaded["statistics.mean"].mean()) == 0.5 and float(loaded["statistics.variance"].mean()) == 2.0


# --------------------------------------------------------------------------------------------- against slow code


def test_the_spectrum_is_that_of_explicit_transforms():
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    wave = np.exp(-2j * np.pi * np.outer(np.arange(6), np.arange(6)) / 6)
    found = Spectrum("full")(pixels_of(image))[0].numpy()
    for channel, colour in enumerate((2, 1, 0)):
        values = np.log(np.abs(wave @ (image[..., colour] / np.float32(255)) @ wave.T) + 1e-3)
        order = np.sort(values.flat)
        low, high = (order[int(p)] + (p % 1) * (order[int(p) + 1] - order[int(p)]) for p in (0.05 * 35, 0.95 * 35))
        expected = np.clip(2 * (values - low) / (high - low) - 1, -1, 1)
        assert np.allclose(found[channel], expected, atol=1e-5)
    assert torch.isfinite(Spectrum("high")(torch.full((1, 3, 8, 8), 7, dtype=torch.uint8))).all()


def test_bands_divide_the_frequencies():
    masks = {band: Spectrum(band).mask(224, CPU) for band in BANDS}
    assert torch.equal(masks["low"] + masks["middle"] + masks["high"], masks["full"]) and masks["full"].all()
    assert [int(mask.sum()) for mask in masks.values()] == [224**2, 120**2, 182**2 - 120**2, 224**2 - 182**2]
    assert masks["low"][0, 0] == 1 and masks["high"][112, 0] == 1  # frequency 0 is in the corner


def test_coefficients_and_statistics_are_those_of_explicit_sums():
    pixels = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def basis(n: int) -> np.ndarray:
        waves = np.cos(np.pi * np.outer(np.arange(n), 2 * np.arange(n) + 1) / (2 * n))
        return waves * np.sqrt(np.where(np.arange(n) == 0, 1, 2) / n)[:, None]

    expected = np.log(np.abs(basis(4) @ pixels.double().numpy() @ basis(6).T) + 1e-12)
    found = LogCosines()(pixels)
    assert np.allclose(found.numpy(), expected, rtol=1e-9)
    mean, variance = mean_and_variance(iter(found.split(2)))
    assert np.allclose(mean.numpy(), expected.mean(0)) and np.allclose(variance.numpy(), expected.var(0))


def test_a_dampened_step_is_shorter():
    weight = nn.Parameter(torch.tensor([1.0]))
    settings = {"name": "sgd", "lr": 0.5, "weight_decay": 0.0, "momentum": 0.9, "nesterov": False, "dampening": 0.9}
    optimiser = build_optimiser([weight], settings)
    for _ in range(2):
        weight.grad = torch.tensor([2.0])
        optimiser.step()
    assert float(weight.detach()) == pytest.approx(1 - 0.5 * 0.2 - 0.5 * (0.9 * 0.2 + 0.2))


def test_the_penalty_of_ridge_is_the_sum_of_squared_weights():
    def loss(l2: float) -> float:
        method = FrankMethod.begin(
            recipe_settings("frank", version="ridge", crop=8, crop_test=8, l2=l2), None, None, CPU
        )
        nn.init.constant_(method.model.get_submodule("dense").weight, 0.1)
        pixels = torch.full((2, 3, 8, 8), 9, dtype=torch.uint8)
        return float(method.loss(pixels, torch.tensor([0, 1]), torch.Generator().manual_seed(0)).detach())

    assert loss(0.5) - loss(0.0) == pytest.approx(0.5 * 3 * 64 * 0.01, rel=1e-3)


# ------------------------------------------------------------------------------------------ through the stages


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


RUNS: dict[str, dict[str, Any]] = {
    "spec": {"method": "spec"},
    "ridge": {"method": "frank", "version": "ridge"},
    "cnn": {"method": "frank", "version": "cnn"},
    "resnet": {"method": "frank", "version": "resnet"},
    "fredect": {"method": "fredect"},
}


@pytest.mark.parametrize("name", RUNS)
def test_it_is_planned_trained_and_scored(data, tmp_path, name):
    rates = {"spec": 0.01, "fredect": 1e-4}
    assert float(check_run(data, tmp_path, RUNS[name] | SMALL)[0]["lr"]) == rates.get(name, 1e-3)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"method": "spec", "band": "lowest"}, "low"),
        (
            {"method": "spec", "optimiser": {"name": "sgd", "nesterov": True, "dampening": 0.9}},
            "nesterov needs a momentum above 0 and no dampening",
        ),
        ({"method": "frank", "crop": 64}, "coefficients have one side for both"),
        ({"method": "frank", "version": "resnet", "crop": 8, "crop_test": 8}, "needs 13 pixels or more"),
        ({"method": "fredect", "crop_test": 256}, "coefficients have one side for both"),
        ({"method": "frank", "epochs": 0}, "0 epochs train nothing; give weights"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": run}).everything()
