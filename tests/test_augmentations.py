import re

import numpy as np
import pytest
import torch
from baseline_cases import cases_of
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tellsign.data.augmentations.blur_jpeg_crops import Draws, augmented_crops, blur, blur_jpeg, draw_blur_jpeg
from tellsign.data.images import recompress, resized
from tellsign.data.pixels import PixelTable
from tellsign.errors import UserError


def draws(count=40_000, probability=0.5, sigma=(0.0, 3.0), quality=(30, 100), seed=0) -> Draws:
    generator = torch.Generator().manual_seed(seed)
    return draw_blur_jpeg(count, generator, probability=probability, sigma=sigma, quality=quality)


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_blur_and_jpeg_come_with_their_probability_and_independently(probability):
    drawn = draws(probability=probability)
    blurred, compressed = drawn.sigma > 0, drawn.quality > 0
    for happened, expected in (
        (blurred, probability),
        (compressed, probability),
        (blurred & compressed, probability**2),
    ):
        spread = (expected * (1 - expected) / len(blurred)) ** 0.5
        assert abs(float(happened.double().mean()) - expected) < 4 * spread


def test_sigma_and_quality_are_uniform_over_their_whole_ranges():
    drawn = draws(probability=1.0)
    assert 0 <= drawn.sigma.min() < 0.001 and 2.999 < drawn.sigma.max() <= 3
    assert abs(float(drawn.sigma.mean()) - 1.5) < 4 * 3 / (12 * len(drawn.sigma)) ** 0.5
    counts = torch.bincount(drawn.quality, minlength=101)
    assert (counts[:30] == 0).all() and (counts[30:] > 0).all()
    expected = len(drawn.quality) / 71  # 30 and 100 included
    assert float(((counts[30:] - expected) ** 2 / expected).sum()) < 71 + 5 * (2 * 70) ** 0.5  # chi squared


def test_probability_zero_leaves_images_alone_and_one_seed_draws_one_thing():
    assert not draws(100, 0.0).sigma.any() and not draws(100, 0.0).quality.any()
    assert torch.equal(draws(100, seed=1).sigma, draws(100, seed=1).sigma)
    assert not torch.equal(draws(100, seed=1).sigma, draws(100, seed=2).sigma)


@pytest.mark.parametrize("wrong", [{"sigma": (3.0, 0.0)}, {"quality": (30, 101)}, {"quality": (0, 30)}])
def test_ranges_that_cannot_be_are_refused(wrong):
    with pytest.raises(UserError, match="augment"):
        draws(1, **wrong)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_blur_is_a_gaussian_sum_over_a_mirrored_image():
    image, sigma = picture(7, 9), 0.8
    radius = int(4 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    padded = np.pad(image.astype(float), ((radius, radius), (radius, radius), (0, 0)), mode="symmetric")
    found = blur(image, sigma)
    for i in range(7):
        for j in range(9):
            window = padded[i : i + 2 * radius + 1, j : j + 2 * radius + 1]
            exact = (kernel[:, :, None] * window).sum((0, 1))
            gap = exact - found[i, j]  # the fraction is cut off twice, once of a sum of fractions that were
            assert (gap >= -1e-9).all() and (gap < 2).all()


@pytest.mark.parametrize("path", [*cases_of("cnndetection", kind="case_B"), *cases_of("unifd", kind="augment")])
def test_blur_jpeg_and_resizing_are_those_of_the_public_code(path):
    stored = load_file(path)
    image = stored.pop("picture_0" if "picture_0" in stored else "picture")
    for key, expected in stored.items():
        numbers = [float(number) for number in re.findall(r"(?<=_)[\d.]+", key.removesuffix("_0"))]
        match key.split("_")[:2]:
            case ["blur", "then"]:
                found = blur_jpeg(image, 0.4, 65)
            case ["blur", _]:
                found = blur_jpeg(image, numbers[0], 0)
            case ["jpeg", _]:  # OpenCV's encoder and Pillow's give the same bytes' pixels
                found = recompress(image, int(numbers[0]))
            case _:
                found = resized(image, mode="shorter", size=int(numbers[0]), filter="bilinear")
        np.testing.assert_array_equal(found, expected, err_msg=key)


def test_blur_comes_before_jpeg_and_neither_is_no_change():
    image = picture(24, 16)
    assert blur_jpeg(image, 0.0, 0) is image
    np.testing.assert_array_equal(blur_jpeg(image, 1.0, 40), recompress(blur(image, 1.0), 40))
    assert (blur_jpeg(image, 1.0, 40) != blur(recompress(image, 40), 1.0)).any()


def table() -> PixelTable:
    images = [picture(20, 26, 1), picture(16, 16, 2), picture(9, 30, 3)]
    sizes = torch.tensor([image.shape[:2] for image in images])
    counts = sizes.prod(1)
    pixels = torch.from_numpy(np.concatenate([image.reshape(-1, 3) for image in images]))
    return PixelTable(("a", "b", "c"), pixels, counts.cumsum(0) - counts, sizes[:, 0].clone(), sizes[:, 1].clone())


def test_without_blur_and_jpeg_the_crops_are_the_tables_windows():
    held, rows = table(), torch.tensor([2, 0, 1])
    place = torch.tensor([[0.1, 0.9], [0.5, 0.999], [0.0, 0.3]], dtype=torch.float64)
    nothing = Draws(torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.int64), place)
    found = torch.cat(list(augmented_crops(held, rows.split(2), nothing, 12, workers=1)))
    tops, lefts = (place * (held.slack(rows, 12) + 1)).long().unbind(1)
    assert torch.equal(found, held.windows(rows, tops, lefts, 12))


def test_whole_images_are_compressed_and_then_cropped():
    held = table()
    one = Draws(torch.tensor([0.7]), torch.tensor([35]), torch.tensor([[0.6, 0.5]], dtype=torch.float64))
    (found,) = augmented_crops(held, [torch.tensor([0])], one, 12, workers=1)
    whole = blur_jpeg(picture(20, 26, 1), 0.7, 35)
    top, left = int(0.6 * 9), int(0.5 * 15)
    np.testing.assert_array_equal(found[0].permute(1, 2, 0).numpy(), whole[top : top + 12, left : left + 12])


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31), st.integers(1, 3))
def test_threads_and_running_ahead_change_nothing(seed, ahead):
    batches = torch.arange(3).repeat(4)[torch.randperm(12, generator=torch.Generator().manual_seed(seed))].split(5)
    drawn = draws(12, seed=seed)
    alone = list(augmented_crops(table(), batches, drawn, 12, workers=1))
    threaded = list(augmented_crops(table(), batches, drawn, 12, workers=3, ahead=ahead))
    assert [len(part) for part in alone] == [5, 5, 2]
    assert all(torch.equal(a, b) for a, b in zip(alone, threaded, strict=True))
