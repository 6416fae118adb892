"""SAFE: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, check_published_file, listed, recipe_settings, with_filled_weights
from PIL import Image
from small_runs import check_run, plan_of, train_and_val

from tellsign.detectors.safe import Safe, SafeMethod, distorted, masked, padded_center_crop
from tellsign.errors import UserError
from tellsign.networks.wavelets import diagonal_details

CPU = torch.device("cpu")


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("safe"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case, method, seen = Case(path), SafeMethod(Safe(), {}, 256, CPU), []
    network = with_filled_weights(method.model)
    network.fc1.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0][0]))
    inputs = {}
    for number in case.pictures:
        image = case.stored[f"picture_{number}"].permute(2, 0, 1)
        if tuple(case.shape(f"prepared_{number}")[1:]) != tuple(image.shape[1:]):
            image = padded_center_crop(image, 256)
        inputs[number] = x = method.preprocess(image[None])
        case.compare(f"prepared_{number}", x[0], exact=True)
        case.compare(f"hh_{number}", diagonal_details(x)[0])
        case.compare(f"front_{number}", network.front(x)[0])
    for gain, mark in ((1, ""), (20, "_gain20")):
        network.conv1.weight *= gain
        for number, x in inputs.items():
            logits = network.logits(x)
            case.compare(f"logits{mark}_{number}", logits[0])
            case.compare(f"features{mark}_{number}", seen[-1])
            assert torch.allclose(network(x).sigmoid(), logits.softmax(1)[:, 1])
    case.check_all_compared()


def test_the_published_file_loads_by_its_own_names(tmp_path):
    check_published_file(tmp_path, SafeMethod, "safe", listed("safe"))


# --------------------------------------------------------------------------------------------- against slow code

HIGH = np.array([0, 0, -1, 1, 0, 0]) / 2**0.5
"""The high-pass filter of the wavelet bior1.3."""


def slow_line(line: np.ndarray) -> np.ndarray:
    """Details of one line: a convolution with its mirrored continuation, of which every other place is kept."""
    n = len(line)
    longer = np.pad(line, 6, mode="symmetric")
    places = range(1, 2 * ((n + 5) // 2), 2)
    return np.array([sum(HIGH[tap] * longer[6 + place - tap] for tap in range(6)) for place in places])


@pytest.mark.parametrize("shape", [(8, 8), (7, 10), (61, 74)])
def test_diagonal_details_are_those_of_a_loop_over_the_filters_taps(shape):
    x = np.random.default_rng(0).normal(size=shape)
    expected = np.apply_along_axis(slow_line, 0, np.apply_along_axis(slow_line, 1, x))
    found = diagonal_details(torch.from_numpy(x)).numpy()
    assert found.shape == expected.shape == tuple((side + 5) // 2 for side in shape)
    assert np.allclose(found, expected, atol=1e-12)


def test_black_surrounds_what_is_smaller_than_a_crop():
    image = torch.full((3, 4, 9), 7, dtype=torch.uint8)
    crop = padded_center_crop(image, 7)
    rows, columns = crop[0].any(1).nonzero()[:, 0].tolist(), crop[0].any(0).nonzero()[:, 0].tolist()
    assert crop.shape == (3, 7, 7) and rows == [1, 2, 3, 4] and columns == [0, 1, 2, 3, 4, 5, 6]
    large = torch.arange(3 * 9 * 12).view(3, 9, 12)
    assert torch.equal(padded_center_crop(large, 4), large[:, 2:6, 4:8])  # 2.5 is rounded to even


def test_a_mask_blackens_distinct_whole_cells():
    image = torch.full((3, 64, 50), 9, dtype=torch.uint8)
    out = masked(image, 0.5, torch.Generator().manual_seed(0))
    cells = out[:, :, :48].unfold(1, 16, 16).unfold(2, 16, 16).flatten(3).float().mean(3)
    assert set(cells.flatten().tolist()) == {0.0, 9.0} and int((cells[0] == 0).sum()) == int(64 * 50 * 0.5 / 256) == 6
    assert out[:, :, 48:].eq(9).all() and image.eq(9).all()


def test_a_crop_is_turned_and_enhanced_in_the_drawn_order():
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    same = distorted(image, 0.0, (2, 0, 1), (1.0, 1.0, 1.0))
    assert torch.equal(same, image)
    assert torch.equal(distorted(image, 90.0, (), ()), image.rot90(1, (1, 2)))
    brighter = distorted(image, 0.0, (0,), (1.5, 1.0, 1.0))
    assert torch.equal(brighter, (image.double() * 1.5).clamp(max=255).floor().to(torch.uint8))
    first, second = (distorted(image, 0.0, order, (0.6, 1.4, 1.0)) for order in ((0, 1), (1, 0)))
    assert not torch.equal(first, second)
    grey = np.array(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L"))
    assert torch.equal(distorted(image, 0.0, (2,), (1.0, 1.0, 0.0)), torch.from_numpy(grey).expand(3, 8, 8))


def test_the_loss_is_the_cross_entropy_of_smoothed_labels_of_two_outputs():
    method = SafeMethod.begin(recipe_settings("safe", crop=32, crop_test=32), None, None, CPU)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 1, 1, 0])
    method.model.eval()
    expected = torch.nn.functional.cross_entropy(method.model.logits(pixels / 255), labels, label_smoothing=0.1)
    assert torch.allclose(method.loss(pixels, labels, torch.Generator()), expected)


# ------------------------------------------------------------------------------------------ through the stages


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


@pytest.mark.parametrize("whole", [True, False])
def test_it_is_planned_trained_and_scored(data, tmp_path, whole):
    run = {"method": "safe", "crop": 32, "crop_test": 48, "batch_size": 6, "whole": whole}
    log = check_run(data, tmp_path, run | {"epochs": 2})
    assert float(log[0]["lr"]) == pytest.approx(float(log[1]["lr"]) / 2)  # warm-up


def test_training_crops_follow_from_the_generator_alone(data):
    method = SafeMethod.begin(recipe_settings("safe", crop=32, crop_test=32), None, None, CPU)
    table = method.readers["crops"](data / "train")
    rows = torch.arange(4)
    made = functools.partial(method.training_crops, table, rows)
    one, again, other = (made(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other) and one.shape == (4, 3, 32, 32)


@pytest.mark.parametrize(
    ("run", "message"),
    [({"jitter": 1.5}, "jitter"), ({"masked_most": -1}, "masked_most"), ({"epochs": 0}, "give weights")],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": {"method": "safe"} | run}).everything()
