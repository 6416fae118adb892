from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tellsign.errors import UserError
from tellsign.methods import lattice, patches
from tellsign.methods.lattice import Ratio, diagonal_patches, period, phase, upscale

SETTINGS = {"n_ratios": 3, "n_phases": 4, "n_images": 2, "n_patches": 2, "patch_size": 20}
in_range = st.sampled_from(lattice.ratios(16))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(*sizes: tuple[int, int], seed: int = 0) -> list[torch.Tensor]:
    g = seeded(seed)
    return [torch.randint(0, 256, (3, *size), generator=g, dtype=torch.uint8) for size in sizes]


def batch(images: list[torch.Tensor] | None = None, seed: int = 0, **changes: object) -> patches.PatchBatch:
    images = photographs((60, 90), (71, 64), (55, 58), seed=seed) if images is None else images
    options = {"ratios": lattice.STRIDE_16, "quantise": False} | SETTINGS | changes
    return patches.sample_batch(images, seeded(seed), **options)  # pyright: ignore


def slow_upscale(image: list[list[float]], ratio: Fraction) -> list[list[float]]:
    """Eq. 1, 2 and Fig. 2 of the rescale paper in exact fractions; the border pixel is repeated."""
    h, w = len(image), len(image[0])
    result = []
    for y in range(math.floor(h * ratio)):
        row = []
        for x in range(math.floor(w * ratio)):
            xs, ys = ((v + Fraction(1, 2)) / ratio - Fraction(1, 2) for v in (x, y))
            r1, r2 = xs - math.floor(xs), ys - math.floor(ys)
            x0, x1 = (min(max(math.floor(xs) + d, 0), w - 1) for d in (0, 1))
            y0, y1 = (min(max(math.floor(ys) + d, 0), h - 1) for d in (0, 1))
            top = image[y0][x0] * (1 - r1) + image[y0][x1] * r1
            bottom = image[y1][x0] * (1 - r1) + image[y1][x1] * r1
            row.append(float(top * (1 - r2) + bottom * r2))
        result.append(row)
    return result


@settings(deadline=None, max_examples=25)
@given(in_range, st.integers(3, 12), st.integers(3, 12))
def test_upscale_is_the_papers_formula(ratio: Ratio, h: int, w: int):
    image = torch.randint(0, 256, (h, w), generator=seeded(h))
    exact = slow_upscale(image.tolist(), Fraction(ratio.numerator, ratio.denominator))
    torch.testing.assert_close(upscale(image, ratio), torch.tensor(exact), rtol=0, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(in_range, st.integers(1, 3), st.integers(1, 3))
def test_upscale_is_torchs_bilinear(ratio: Ratio, m: int, n: int):
    x = torch.rand(2, 3, m * ratio.denominator, n * ratio.denominator, generator=seeded(m), dtype=torch.float64)
    size = (m * ratio.numerator, n * ratio.numerator)
    theirs = F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=False)
    torch.testing.assert_close(upscale(x, ratio), theirs, rtol=0, atol=1e-6)


def source_coordinates(n_dst: int, ratio: Ratio) -> torch.Tensor:
    """Eq. 1: where destination pixels lie, in pixels from the first source pixel's centre."""
    return (torch.arange(n_dst, dtype=torch.float64) + 0.5) * ratio.denominator / ratio.numerator - 0.5


def test_example_of_figure_3():
    """6 to 4 pixels: source/destination is 3/2, so the period is 2 (Ratio reduces 4/6 to 2/3)."""
    ratio = Ratio(4, 6)
    assert source_coordinates(4, ratio).tolist() == [0.25, 1.75, 3.25, 4.75]
    assert period(ratio) == 2
    assert [phase(x, ratio) for x in range(4)] == [0, 1, 0, 1]


@settings(deadline=None)
@given(in_range, st.integers(0, 500), st.integers(0, 40))
def test_weights_repeat_with_the_period_and_no_sooner(ratio: Ratio, x: int, k: int):
    a = period(ratio)
    left, weight = lattice.taps(torch.arange(x, x + a), ratio)
    later_left, later_weight = lattice.taps(torch.arange(x, x + a) + k * a, ratio)
    assert torch.equal(weight, later_weight)
    assert torch.equal(later_left - left, torch.full((a,), k * ratio.denominator))
    assert len(set(weight.tolist())) == a


def test_taps_are_source_coordinates():
    for ratio in lattice.ratios(12):
        left, weight = lattice.taps(torch.arange(50), ratio)
        torch.testing.assert_close(left + weight.double(), source_coordinates(50, ratio), rtol=0, atol=1e-6)


def test_lists_of_ratios():
    assert [str(r) for r in lattice.STRIDE_16] == ["16/9", "8/5", "16/11", "4/3", "16/13", "8/7"]
    every = {Fraction(a, b) for b in range(1, 8) for a in range(b + 1, 2 * b) if a <= 7}
    assert {Fraction(r.numerator, r.denominator) for r in lattice.ratios(7)} == every
    assert Ratio.parse("8/6") == Ratio(4, 3)
    with pytest.raises(UserError, match="'4:3' is no scale ratio"):
        Ratio.parse("4:3")
    with pytest.raises(UserError, match="two positive integers"):
        Ratio(0, 3)


def test_ratios_of_period_32_suit_xceptions_stride_and_make_batches():
    """docs/rescale.md lists them: 174 px are (128 + 2 x 32 - 1) x 29 / 32, rounded up."""
    longest = [ratio for ratio in lattice.ratios(32, dividing=32, low=1.1) if period(ratio) == 32]
    assert [str(ratio) for ratio in longest] == [f"32/{b}" for b in range(17, 30, 2)]
    assert patches.smallest_side(longest, n_patches=2, patch_size=128) == 174
    result = batch(photographs((174, 180), (190, 174)), ratios=longest, patch_size=128)
    numerators = torch.tensor([period(ratio) for ratio in longest])[result.ratio]
    assert torch.equal(result.position % numerators[:, None], result.phase)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.lists(in_range, min_size=3, max_size=5, unique=True), st.integers(1, 3))
def test_every_patch_is_a_window_of_the_whole_rescaled_image(seed: int, choices: list[Ratio], n_patches: int):
    side = patches.smallest_side(choices, n_patches=n_patches, patch_size=20)
    images = photographs((side, side + 13), (side + 5, side), seed=seed)
    result = batch(images, seed, ratios=choices, n_patches=n_patches)
    for k in range(len(result.patches)):
        whole = upscale(images[int(result.image[k])], choices[int(result.ratio[k])])
        y, x = result.position[k].tolist()
        window = whole[:, y : y + 20, x : x + 20]
        assert window.shape == (3, 20, 20)
        torch.testing.assert_close(result.patches[k], window, rtol=0, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_positives_are_equal_ratio_and_phase(seed: int):
    """The pair rule of §4.2, for every pair of the batch."""
    r = batch(seed=seed)
    a = torch.tensor([period(ratio) for ratio in lattice.STRIDE_16])[r.ratio]
    assert torch.equal(r.position % a[:, None], r.phase)
    same_ratio = r.ratio[:, None] == r.ratio
    same_lattice = same_ratio & (r.phase[:, None] == r.phase).all(-1)
    assert torch.equal(r.label[:, None] == r.label, same_lattice)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_every_image_is_at_every_ratio_and_phase_in_different_places(seed: int):
    r = batch(seed=seed)
    table = torch.zeros(12, 3, dtype=torch.int64)
    table.index_put_((r.label, r.image), torch.ones_like(r.label), accumulate=True)
    assert sorted(table.sum(0).tolist()) == [0, 24, 24]
    assert set(table[table > 0].tolist()) == {2}
    places = {tuple(v) for v in torch.column_stack([r.label, r.image, r.position]).tolist()}
    assert len(places) == len(r.label) == 48


def test_all_places_and_phases_are_reached():
    images = photographs((40, 40))
    one = {"ratios": [Ratio(4, 3)], "n_ratios": 1, "n_phases": 2, "n_images": 1, "n_patches": 1}
    seen = {tuple(p) for seed in range(400) for p in batch(images, seed, **one).position.tolist()}
    last = 40 * 4 // 3 - 20
    assert {y for y, _ in seen} == {x for _, x in seen} == set(range(last + 1))


def test_distinct_draws_are_uniform_over_sets():
    """Pairs below 4: each of the 6 sets with frequency 1/6, within 5 standard errors."""
    drawn = patches._distinct(torch.full((6000,), 4), 2, seeded())
    assert (drawn[:, 0] < drawn[:, 1]).all()
    counts = torch.unique(drawn, dim=0, return_counts=True)[1]
    assert len(counts) == 6
    assert (counts - 1000).abs().max() < 5 * math.sqrt(6000 * 5 / 36)


def test_quantised_patches_are_rounded_and_leave_the_generators_draws_alone():
    real, whole = batch(seed=3), batch(seed=3, quantise=True)
    assert whole.patches.dtype == torch.uint8
    assert torch.equal(real.patches.round().to(torch.uint8), whole.patches)
    assert torch.equal(real.position, whole.position)
    assert not torch.equal(real.position, batch(seed=4).position)


def test_a_part_of_a_draw_is_cut_as_the_whole_is():
    images = photographs((60, 90), (71, 64), (55, 58))
    sizes = torch.tensor([image.shape[1:] for image in images])
    given = {"ratios": lattice.STRIDE_16, "patch_size": 20}
    factors = {k: v for k, v in SETTINGS.items() if k.startswith("n_")}
    draw = patches.draw_batch(sizes, seeded(), **given, **factors)  # pyright: ignore
    whole = batch(images)
    assert torch.equal(draw.position, whole.position) and torch.equal(draw.label, whole.label)
    rows = torch.arange(1, 48, 3)
    held = {int(i): images[int(i)] for i in draw.image[rows].unique()}
    part = patches.cut_patches(held, draw.part(rows), quantise=False, **given)  # pyright: ignore
    torch.testing.assert_close(part, whole.patches[rows], rtol=0, atol=1e-4)


def test_of_very_many_images_different_ones_are_drawn(monkeypatch):
    monkeypatch.setattr(patches, "SHUFFLED", 5)
    drawn = torch.stack([patches._draw_images(6, 3, seeded(seed)) for seed in range(600)])
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    counts = drawn.flatten().bincount()  # each of 6 images in half of 600 batches; 5 standard errors
    assert (counts - 300).abs().max() < 5 * math.sqrt(600 / 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": [Ratio(2, 1)]}, "2/1 is not in"),
        ({"n_ratios": 7}, "n_ratios is 7, but there are 6 ratios"),
        ({"n_phases": 17}, "n_phases is 17, but ratio 4/3 has 16"),
        ({"n_images": 4}, "n_images is 4, but 3"),
        ({"patch_size": 90}, "; 2 patches of 90 need sides of"),
        ({"n_patches": 0}, "at least 1"),
        ({"ratios": [Ratio(4, 3), Ratio(8, 6), Ratio(8, 7)]}, "the ratios repeat: 4/3 4/3 8/7"),
    ],
)
def test_impossible_batches_are_named(changes: dict, message: str):
    with pytest.raises(UserError, match=message):
        batch(**changes)


def test_diagonal_patches():
    image = torch.arange(3 * 12 * 10).reshape(3, 12, 10)
    diagonal = diagonal_patches(image, patch_size=4, count=7)
    assert torch.equal(diagonal, torch.stack([image[:, i : i + 4, i : i + 4] for i in range(7)]))
    with pytest.raises(UserError, match="10x12; 8 patches need 11"):
        diagonal_patches(image, patch_size=4, count=8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batch_on_a_gpu():
    images = photographs((60, 90), (71, 64), (55, 58))
    here, there = batch(images), batch([i.cuda() for i in images])
    torch.testing.assert_close(there.patches.cpu(), here.patches, rtol=0, atol=1e-4)
    assert torch.equal(there.label.cpu(), here.label)
