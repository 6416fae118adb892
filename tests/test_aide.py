"""AIDE: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from baseline_cases import ABSENT, FOLDER, Case, cases_of, recipe_settings, with_filled_weights
from small_runs import check_run, plan_of, train_and_val

from tellsign.detectors.aide import Aide, AideMethod, blurred, compressed, prepared
from tellsign.errors import UserError
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.frequency_windows import chosen, graded, windows
from tellsign.networks.noise_filters import noise_filters

CPU = torch.device("cpu")
SMALL = {"backbone": {"name": "timm:convnext_atto", "weights": "none"}, "side": 64}


def small() -> Aide:
    backbone = load_backbone("timm:convnext_atto", "none", 0)
    return Aide(backbone.net, backbone.dim)


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("aide"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case, network = Case(path), with_filled_weights(small(), keep="hpf")
    case.compare("srm_kernels", noise_filters(), exact=True)
    seen: list[torch.Tensor] = []
    pool = network.get_submodule("model_min.global_pool")
    pool.register_forward_hook(lambda _layer, _inputs, output: seen.append(output[0]))
    for number in case.pictures:
        image = case.stored[f"picture_{number}"].permute(2, 0, 1) / 255
        case.compare(f"grade_{number}", graded(windows(image))[1])
        for name, window in zip(("min", "max", "min2", "max2"), chosen(image), strict=True):
            case.compare(f"patch_{name}_{number}", window)
        x = prepared(image, 256)
        case.compare(f"x0_{number}", x[4])
        case.compare(f"resized_min_{number}", x[0])
        for place, name in enumerate(("min", "max")):
            case.compare(f"srm_{name}_{number}", network.hpf(x[place : place + 1])[0])
        seen.clear()
        features = network.noise(x[None])
        case.compare(f"features_min_{number}", seen[0])
        case.compare(f"features_mean_{number}", features[0])
        case.compare(f"head_{number}", network.head(torch.cat([torch.zeros(1, 256), features], 1))[0])
    case.check_all_compared()


def test_the_published_names_and_shapes_are_those_of_the_network():
    if not FOLDER.is_dir():
        pytest.skip(ABSENT)
    lines = [line.split("\t") for line in (FOLDER / "aide" / "tensors.tsv").read_text().splitlines()[1:]]
    with torch.device("meta"):  # 847 million numbers are not made
        network = Aide(timm.create_model("convnext_xxlarge", num_classes=0), 3072)
    own = {name: "x".join(map(str, value.shape)) or "scalar" for name, value in network.state_dict().items()}
    assert own == {name: shape for name, shape, *_ in lines}


def test_grades_are_those_of_loops_and_choose_the_windows():
    image = torch.from_numpy(np.random.default_rng(0).random((3, 49, 70), dtype=np.float32))
    cut = windows(image)
    assert cut.shape == (6, 3, 32, 32) and torch.equal(cut[4], image[:, 16:48, 16:48])
    k, n = np.arange(32)[:, None], np.arange(32)
    matrix = np.sqrt(2 / 32) * np.cos(np.pi * k * (2 * n + 1) / 64)
    matrix[0] /= 2**0.5
    expected = 0.0
    for band in range(6):
        low, high = band * 64 / 6, (band + 1) * 64 / 6
        cells = [(i, j) for i in range(32) for j in range(32) if low <= i + j <= high]
        for channel in cut[4].double().numpy():
            spectrum = matrix @ channel @ matrix.T
            expected += 2**band * sum(np.log(abs(spectrum[i, j]) + 1) for i, j in cells) / len(cells)
    grades = graded(cut)[1]
    assert float(grades[4]) == pytest.approx(expected, rel=1e-5)
    order = grades.argsort()
    for window, place in zip(chosen(image), (order[0], order[-1], order[1], order[-2]), strict=True):
        torch.testing.assert_close(window, cut[place], rtol=1e-4, atol=1e-5)  # its transform and back
    alone = chosen(image[:, :32, :32])
    torch.testing.assert_close(alone[0], alone[3])


def test_an_image_smaller_than_a_window_is_refused():
    with pytest.raises(UserError, match="an image has 31 x 40 pixels; AIDE needs 32 both ways"):
        windows(torch.zeros(3, 31, 40))


def test_blur_and_jpeg_of_training_images():
    image = torch.zeros(3, 5, 5)
    image[:, 2, 2] = 1
    taps = np.exp([-0.5 / 0.7**2, 0, -0.5 / 0.7**2])
    expected = np.outer(taps, taps) / taps.sum() ** 2
    np.testing.assert_allclose(blurred(image, 0.7)[1, 1:4, 1:4].numpy(), expected, rtol=1e-5)
    assert torch.allclose(blurred(torch.full((3, 5, 6), 0.3), 2.0), torch.tensor(0.3))
    assert float((compressed(torch.full((3, 16, 16), 0.5), 50) - 128 / 255).abs().max()) < 0.01


@torch.no_grad()
def test_the_whole_image_is_seen_as_the_frozen_network_wants_it_and_nothing_of_it_is_trained():
    network = small().eval()
    pixels = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    backbone = load_backbone("timm:convnext_atto", "none", 0)
    for parameter, value in zip(backbone.net.parameters(), network.openclip_convnext_xxl.parameters(), strict=True):
        parameter.copy_(value)
    x = prepared(pixels[0], 64)[None, 4]
    clip = [(pixels[:, c] - m) / s for c, (m, s) in enumerate(
        zip((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), strict=True))]  # fmt: skip
    net = backbone.net.eval()
    features = net.head.norm(net.forward_features(torch.stack(clip, 1))).mean((2, 3))
    torch.testing.assert_close(network.whole(x), network.convnext_proj(features), rtol=1e-4, atol=1e-5)
    trained = {name.partition(".")[0] for name, value in network.named_parameters() if value.requires_grad}
    assert trained == {"model_min", "model_max", "fc"}


def test_imagenets_resnet_starts_what_has_its_shapes(tmp_path):
    own = small().state_dict()
    stored = {key.removeprefix("model_min."): value for key, value in own.items() if key.startswith("model_min.")}
    stored = {key: torch.full_like(value, 2) for key, value in stored.items()} | {
        "conv1.weight": torch.ones(64, 3, 7, 7)
    }
    begun = AideMethod.starting_state(stored, own)
    assert begun["model_max.layer1.0.conv1.weight"].eq(2).all() and begun["model_min.fc.weight"].eq(2).all()
    for name in ("model_min.conv1.weight", "fc.fc1.weight", "convnext_proj.0.weight", "hpf.hpf.weight"):
        assert begun[name] is own[name]
    assert AideMethod.starting_state(own, own) is own


@pytest.mark.slow  # two ResNet-50s are written and read again
def test_it_is_planned_trained_and_scored(tmp_path_factory, tmp_path):
    run = {"method": "aide", "batch_size": 6, "epochs": 1, "schedule": {"warmup": 0}} | SMALL
    check_run(train_and_val(tmp_path_factory), tmp_path, run | {"side": 32, "blurred": 0.5, "compressed": 0.5})


def test_smoothed_labels_are_those_of_the_softmax():
    method = AideMethod(torch.nn.Identity(), recipe_settings("aide", **SMALL), 64, CPU)
    outputs = torch.tensor([[0.3, -0.2], [1.0, 2.0]])
    found = method.loss(outputs[:, 1] - outputs[:, 0], torch.tensor([0, 1]), torch.Generator())
    expected = torch.nn.functional.cross_entropy(outputs, torch.tensor([0, 1]), label_smoothing=0.1)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"backbone": {"name": "resnet50", "weights": "none"}}, "a ConvNeXt of timm"),
        ({"flip": True}, "flip is true"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": {"method": "aide"} | run}).everything()
