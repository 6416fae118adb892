"""F3-Net: against the results of both public codes, against slow code, and through the stages."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, check_published_file, listed, recipe_settings, with_filled_weights
from scipy.fft import dctn, idctn
from small_runs import check_run, plan_of, train_and_val

from tellsign.data.images import resized
from tellsign.detectors.f3net import F3Net, F3NetMethod, MixBlock
from tellsign.detectors.recipes.f3net import SQUARE, map_sides
from tellsign.errors import UserError
from tellsign.networks.backbones.backbone import Standardise
from tellsign.networks.cosine_bands import ImageBands, WindowStatistics
from tellsign.schema.loading import plain

CPU = torch.device("cpu")
FIXED = r"_DCT_|\.base$|\.ft_num$"
SMALL = {"weights": "none", "crop": 44, "crop_test": 44, "resize": None, "resize_test": None, "batch_size": 6}

NOISE = 2e-3
"""Logarithms of coefficients that are nearly zero differ with the last bits; in float64 they are others altogether."""


@functools.cache
def filled_network(version: str) -> F3Net:
    return with_filled_weights(F3Net(version), keep=FIXED)


def prepared(case: Case, number: int) -> torch.Tensor:
    pixels = resized(case.stored[f"picture_{number}"].numpy(), **plain(SQUARE))
    x = Standardise(F3NetMethod.mean, F3NetMethod.std)(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    case.compare(f"prepared_{number}", x[0], exact=True)
    return x


def outputs(network: F3Net, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, the published outputs, and the logit of fake."""
    seen: list[torch.Tensor] = []
    handle = network.fc.register_forward_hook(lambda _layer, inputs, output: seen.extend([*inputs, output]))
    score = network(x)
    handle.remove()
    return seen[0], seen[1], score


@torch.no_grad()
def compare_streams(case: Case, number: int, x: torch.Tensor) -> None:
    """The re-implementation with one stream or both."""
    both = filled_network("both")
    case.compare(f"fad_{number}", both.get_submodule("FAD_head")(x)[0])
    case.compare(f"lfs_{number}", both.get_submodule("LFS_head")(x)[0], noise=NOISE)
    for mode, noise in (("FAD", None), ("LFS", NOISE), ("Both", NOISE)):
        features, logits, score = outputs(filled_network(mode.lower()), x)
        case.compare(f"features_{mode}_{number}", features[0], noise=noise)
        case.compare(f"logit_{mode}_{number}", logits[0], noise=noise)
        assert torch.equal(score, logits[:, 0])


@torch.no_grad()
def compare_mixed(case: Case, number: int, x: torch.Tensor) -> None:
    """The version with mix blocks."""
    network = filled_network("mix")
    case.compare(f"mix_fad_{number}", network.get_submodule("fad_head")(x)[0])
    case.compare(f"mix_lfs_{number}", network.get_submodule("lfs_head")(x)[0], noise=NOISE)
    seen: dict[str, Any] = {}
    for name in ("mix_block7", "mix_block12"):
        network.get_submodule(name).register_forward_hook(lambda _m, _x, maps, name=name: seen.update({name: maps}))
    features, logits, score = outputs(network, x)
    case.compare(f"mix_features_{number}", features[0], noise=NOISE)
    for name, maps in seen.items():
        for stream, one in zip(("FAD", "LFS"), maps, strict=True):
            case.compare(f"{name}_{stream}_{number}", one[0], noise=NOISE)
    case.compare(f"logits_mix_{number}", logits[0], noise=NOISE)
    assert torch.allclose(score.sigmoid(), logits.softmax(1)[:, 1])


@pytest.mark.parametrize("path", cases_of("f3net"))
def test_a_case_of_the_public_codes_comes_out_the_same(path):
    case = Case(path)
    for number in case.pictures:
        x = prepared(case, number)
        compare_streams(case, number, x)
        compare_mixed(case, number, x)
    if "mixblock_fad_in" in case.stored:
        inputs = case.stored["mixblock_fad_in"], case.stored["mixblock_lfs_in"]
        outputs = with_filled_weights(MixBlock(inputs[0].shape[1]))(*inputs)
        for stream, given, mixed in zip(("fad", "lfs"), inputs, outputs, strict=True):
            case.compare(f"mixblock_{stream}_in", given, exact=True)
            case.compare(f"mixblock_{stream}_out", mixed)
    case.check_all_compared()


@pytest.mark.parametrize(("version", "file"), [("both", "tensors.tsv"), ("mix", "tensors_mix.tsv")])
def test_a_file_of_either_code_loads_by_its_own_names(tmp_path, version, file):
    check_published_file(tmp_path, F3NetMethod, "f3net", listed("f3net", file), version=version)


# --------------------------------------------------------------------------------------------- against slow code


def slow_bands(n: int, areas: bool) -> list[np.ndarray]:
    """The choice of each band, coefficient by coefficient."""
    low, middle = (int(n / 2.82), n // 2) if areas else (n // 16, n // 8)
    borders = [(0, low), (low, middle), (middle, 2 * n if areas else n), (0, 2 * n)]
    bands = []
    for first, last in borders:
        rows = [[first <= i + j <= last if areas else first < i + j <= last for j in range(n)] for i in range(n)]
        bands.append(np.array(rows, float))
    return bands


@pytest.mark.parametrize("areas", [True, False])
def test_bands_of_an_image_are_those_of_scipys_transform(areas):
    torch.manual_seed(0)
    head, x = ImageBands(48, areas=areas), np.random.default_rng(1).normal(size=(3, 48, 48))
    expected = []
    for number, band in enumerate(slow_bands(48, areas)):
        learnt = head.get_parameter(f"filters.{number}.learnable").detach().numpy()
        weights = band + np.tanh(learnt.astype(float) / 2)  # 2 σ(x) - 1
        expected += [idctn(dctn(channel, norm="ortho") * weights, norm="ortho") for channel in x]
    found = head(torch.from_numpy(x).float()[None])[0].detach().numpy()
    assert np.allclose(found, expected, atol=1e-5)


def test_the_number_of_coefficients_of_each_band_is_the_public_codes():
    counts = {areas: [int(band.base.sum()) for band in ImageBands(299, areas=areas).filters] for areas in (True, False)}
    assert counts == {True: [5778, 5654, 78226, 299**2], False: [189, 551, 44407, 299**2 - 1]}
    for closed, expected in ((True, [10, 18, 36, 30, 12, 3]), (False, [9, 18, 36, 21, 12, 3])):
        assert [float(band.get_buffer("ft_num")) for band in WindowStatistics(closed=closed).filters] == expected


@pytest.mark.parametrize("closed", [True, False])
def test_statistics_of_windows_are_those_of_a_loop(closed):
    torch.manual_seed(0)
    head, x = WindowStatistics(closed=closed), np.random.default_rng(2).uniform(-1, 1, size=(3, 22, 22))
    found = head(torch.from_numpy(x).float()[None])[0].detach().numpy()
    grey = np.pad((np.tensordot([0.299, 0.587, 0.114], x, 1) + 1) * 122.5, 4)
    for row, column in [(0, 0), (3, 5), (10, 10)]:
        window = dctn(grey[2 * row : 2 * row + 10, 2 * column : 2 * column + 10], norm="ortho")
        for number in range(6):
            learnt = head.get_parameter(f"filters.{number}.learnable").detach().numpy()
            total, size = 0.0, 0
            for i in range(10):
                for j in range(10):
                    inside = (i + j) * 3 <= 10 * (number + 1) and (
                        (i + j) * 3 >= 10 * number if closed else (i + j) * 3 > 10 * number
                    )
                    size += inside
                    total += np.log10(abs(window[i, j])) * (inside + np.tanh(learnt[i, j] / 2))
            assert found[number, row, column] == pytest.approx(total / size, abs=1e-4)


@torch.no_grad()
def test_a_mix_block_is_that_of_loops_over_images_and_channels():
    torch.manual_seed(3)
    block = MixBlock(4).eval()
    for name in ("FAD", "LFS"):
        block.get_parameter(f"{name}_gamma").fill_(0.7)
        block.get_submodule(f"{name}_bn").running_mean.normal_()
    image, windows = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    mixed = block(image, windows)
    layer = block.get_submodule
    query = {"FAD": layer("FAD_query")(image), "LFS": layer("LFS_query")(windows)}
    key = {"FAD": layer("FAD_key")(image), "LFS": layer("LFS_key")(windows)}
    for sample in range(2):
        for channel in range(4):
            score = sum(query[name][sample, channel] @ key[name][sample, channel].T for name in ("FAD", "LFS"))
            attention = score.softmax(1) * np.tanh(0.35)
            for number, (name, x, other) in enumerate((("FAD", image, windows), ("LFS", windows, image))):
                conv, norm = layer(f"{name}_conv"), layer(f"{name}_bn")
                y = other[sample, channel] * attention * conv.weight[channel, 0, 0, 0] + conv.bias[channel]
                y = (y - norm.running_mean[channel]) / (1 + norm.eps) ** 0.5
                assert torch.allclose(mixed[number][sample, channel], x[sample, channel] + y, atol=1e-5)


def test_mix_blocks_start_without_any_exchange():
    torch.manual_seed(4)
    x = torch.randn(2, 3, 6, 6), torch.randn(2, 3, 6, 6)
    block = MixBlock(3).eval()
    for stream in ("FAD", "LFS"):
        block.get_submodule(f"{stream}_conv").bias.data.zero_()
    assert all(torch.equal(one.detach(), given) for one, given in zip(block(*x), x, strict=True))


@pytest.mark.parametrize("side", [44, 64, 299])
def test_the_recipe_knows_the_sides_of_the_maps(side):
    seen: list[torch.Size] = []
    network = F3Net("mix", side).eval()
    network.get_submodule("mix_block7").register_forward_pre_hook(lambda _m, maps: seen.extend(x.shape for x in maps))
    network(torch.zeros(1, 3, side, side))
    assert [tuple(shape[-2:]) for shape in seen] == [(one, one) for one in map_sides(side)]


# ------------------------------------------------------------------------------------------ through the stages


def test_both_streams_start_from_one_xception_of_imagenet(tmp_path):
    import timm

    torch.manual_seed(6)
    stored = timm.create_model("legacy_xception", num_classes=1000).state_dict()
    torch.save(stored, tmp_path / "xception.pth")
    settings = recipe_settings("f3net", str(tmp_path / "xception.pth"), **{k: SMALL[k] for k in ("crop", "crop_test")})
    state = F3NetMethod.begin(settings, None, None, CPU).model.state_dict()
    for stream, copies in (("fad_excep", 4), ("lfs_excep", 2)):
        assert torch.equal(state[f"{stream}.block12.rep.1.conv1.weight"], stored["block12.rep.1.conv1.weight"])
        first = state[f"{stream}.conv1.weight"].unflatten(1, (copies, 3)).sum(1)
        assert torch.allclose(first, stored["conv1.weight"])
    del stored["bn3.weight"]
    torch.save(stored, tmp_path / "xception.pth")
    with pytest.raises(UserError, match=r"2 tensors differ\.\n  missing: fad_excep.bn3.weight"):
        F3NetMethod.begin(settings, None, None, CPU)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


def test_it_is_planned_trained_and_scored(data, tmp_path):
    log = check_run(data, tmp_path, SMALL | {"method": "f3net", "epochs": 2})
    assert [float(row["lr"]) for row in log] == [2e-4, 2e-4]


def test_dropout_draws_from_the_trainings_generator(data):
    settings = recipe_settings("f3net", version="fad", **SMALL)
    method = F3NetMethod.begin(settings, None, None, CPU)
    pixels, labels = torch.zeros(3, 3, 44, 44, dtype=torch.uint8), torch.tensor([0, 1, 1])
    method.model.dropout.train()
    losses = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        losses.append(float(method.loss(pixels, labels, torch.Generator().manual_seed(0)).detach()))
    assert losses[0] == losses[1] != float(method.loss(pixels, labels, torch.Generator().manual_seed(1)).detach())


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"crop": 299, "crop_test": 256}, "the filters have one side for both"),
        ({"crop": 25, "crop_test": 25}, "at least 26 pixels"),
        ({"crop": 71, "crop_test": 71}, "have sides 5 and 4, and cannot be mixed"),
        ({"version": "original"}, "version"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"f3": {"method": "f3net"} | run}).everything()
