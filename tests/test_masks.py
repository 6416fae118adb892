from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.errors import UserError
from tellsign.methods.masks import MASKS
from tellsign.methods.masks.texture_aware import texture_diversity
from tellsign.schema.loading import plain


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int, b: int = 3, h: int = 20, w: int = 20) -> torch.Tensor:
    return torch.randn(b, 3, h, w, generator=seeded(seed))


def masked(name: str, x: torch.Tensor, generator: torch.Generator, **given) -> torch.Tensor:
    """A mask with the settings given, and the defaults of its settings class for the rest."""
    options = plain(MASKS.settings()[name](name=name)) | given
    return MASKS.load(options.pop("name"))(x, generator, **options)


def known_settings(name: str, **wanted) -> dict[str, Any]:
    """Those settings that a mask has."""
    return {key: value for key, value in wanted.items() if key in MASKS.settings()[name].model_fields}


def hidden(mask: torch.Tensor) -> torch.Tensor:
    """Masked fraction of each image."""
    return 1 - mask.mean((1, 2, 3))


def slow_diversity(patch: list[list[float]]) -> float:
    """MPFT Appendix B, term by term."""
    m, total = len(patch), 0.0
    for i in range(m):
        for j in range(m - 1):
            total += abs(patch[i][j] - patch[i][j + 1])
    for i in range(m - 1):
        for j in range(m):
            total += abs(patch[i][j] - patch[i + 1][j])
    for i in range(m - 1):
        for j in range(m - 1):
            total += abs(patch[i][j] - patch[i + 1][j + 1]) + abs(patch[i + 1][j] - patch[i][j + 1])
    return total


def slow_texture_mask(x: torch.Tensor, r: float, p: int, which: str) -> torch.Tensor:
    """MPFT Algorithm 1 for one image, line by line, ties by Python's stable sort."""
    _, h, w = x.shape
    mask = torch.ones(1, h, w)
    corners = [(i, j) for i in range(0, h - p + 1, p) for j in range(0, w - p + 1, p)]
    scores = [slow_diversity(x[:, i : i + p, j : j + p].mean(0).tolist()) for i, j in corners]
    order = sorted(range(len(corners)), key=lambda k: -scores[k])
    n = math.floor(len(corners) * r)
    front = {"high": n, "low": 0, "both": n - n // 2}[which]
    for k in order[:front] + order[len(order) - (n - front) :]:
        i, j = corners[k]
        mask[:, i : i + p, j : j + p] = 0
    return mask


@pytest.mark.parametrize("which", ["high", "low", "both"])
@pytest.mark.parametrize(("h", "w", "p"), [(20, 20, 5), (23, 17, 4), (8, 8, 8), (6, 9, 2)])
def test_texture_mask_is_algorithm_1(which: str, h: int, w: int, p: int):
    x = images(1, 4, h, w)
    r = 0.2 + 0.6 * torch.rand(4, generator=seeded(3), dtype=torch.float64)
    mask = masked("texture_aware", x, seeded(3), ratio=(0.2, 0.8), patch_size=p, which=which)
    slow = torch.stack([slow_texture_mask(image, float(ratio), p, which) for image, ratio in zip(x, r, strict=True)])
    assert torch.equal(mask, slow)


def test_diversity_of_a_ramp_in_closed_form():
    """Slope 1 along rows: M(M-1) horizontal, no vertical, (M-1)² on each diagonal; channels are averaged."""
    m = 7
    ramp = torch.arange(m, dtype=torch.float32).expand(1, 3, m, m) * torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1)
    assert texture_diversity(ramp, m).item() == m * (m - 1) + 2 * (m - 1) ** 2


def test_textured_patches_go_first():
    x = torch.zeros(1, 3, 12, 12)
    x[..., 4:8, 8:12] = images(0, 1, 4, 4)
    mask = masked("texture_aware", x, seeded(), ratio=(1 / 9, 1 / 9), patch_size=4)
    assert mask[0, 0, 4:8, 8:12].sum() == 0
    assert mask.sum() == 144 - 16


def test_ties_take_the_lower_index_first():
    mask = masked("texture_aware", torch.zeros(1, 3, 4, 4), seeded(), ratio=(0.5, 0.5), patch_size=2)
    assert mask[0, 0].tolist() == [[0] * 4] * 2 + [[1] * 4] * 2


@settings(deadline=None, max_examples=40)
@given(
    st.integers(2, 5),
    st.integers(0, 30),
    st.integers(0, 30),
    st.floats(0, 1),
    st.sampled_from(["high", "low", "both"]),
)
def test_floor_of_n_r_patches_are_hidden(p: int, more_h: int, more_w: int, r: float, which: str):
    h, w = p + more_h, p + more_w
    mask = masked("texture_aware", images(7, 2, h, w), seeded(), ratio=(r, r), patch_size=p, which=which)
    n = (h // p) * (w // p)
    assert ((mask == 0) | (mask == 1)).all()
    assert (mask == 0).sum((1, 2, 3)).tolist() == [math.floor(n * r) * p * p] * 2
    assert (mask[..., h // p * p :, :] == 1).all()
    assert (mask[..., w // p * p :] == 1).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 16), st.integers(0, 99))
def test_high_and_low_are_complements(k: int, seed: int):
    x = images(seed, 2, 16, 16).round()
    high = masked("texture_aware", x, seeded(), ratio=(k / 16, k / 16), patch_size=4, which="high")
    low = masked("texture_aware", x, seeded(), ratio=(1 - k / 16, 1 - k / 16), patch_size=4, which="low")
    assert torch.equal(high, 1 - low)


def test_hidden_high_patches_have_more_texture_than_kept_ones():
    x = images(5, 6, 24, 24)
    mask = masked("texture_aware", x, seeded(), ratio=(0.3, 0.7), patch_size=4)
    gone = mask[:, 0, ::4, ::4] == 0
    for d, g in zip(texture_diversity(x, 4), gone, strict=True):
        assert d[g].min() >= d[~g].max()


def slow_box(h: int, w: int, r: float, a: float, literal: bool) -> tuple[int, int]:
    """LoL Algorithm 1, lines 11 to 13."""
    s = h * w * r
    height = round(min(h, math.sqrt(s * a)))
    width = round(min(w, math.sqrt(s / height) if literal else s / height))
    return height, width


@pytest.mark.parametrize("literal", [False, True])
def test_box_is_lol_algorithm_1(literal: bool):
    h, w, b = 30, 44, 200
    mask = masked(
        "random_box", torch.empty(b, 3, h, w), seeded(2), ratio=(0.1, 1.0), aspect=(0.33, 3.0), literal=literal
    )
    g = seeded(2)
    r, a = (
        low + (high - low) * torch.rand(b, generator=g, dtype=torch.float64) for low, high in ((0.1, 1.0), (0.33, 3.0))
    )
    for i in range(b):
        height, width = slow_box(h, w, float(r[i]), float(a[i]), literal)
        zeros = (mask[i, 0] == 0).nonzero()
        top, left = zeros.min(0).values.tolist()
        expected = torch.ones(h, w)
        expected[top : top + height, left : left + width] = 0
        assert torch.equal(mask[i, 0], expected)


@pytest.mark.parametrize(
    ("low", "literal", "corrected"),
    [(0.0, 0.013, 0.099), (0.2, 0.030, 0.300), (0.4, 0.043, 0.496), (0.6, 0.053, 0.685), (0.8, 0.062, 0.865)],
)
def test_masked_fraction_of_lol_at_224(low: float, literal: float, corrected: float):
    """Monte Carlo over 4,000 boxes; the mean's standard error is below 0.001, the tolerance 0.004."""
    x = torch.empty(4000, 1, 224, 224, dtype=torch.bool)
    for printed, expected in ((False, corrected), (True, literal)):
        mask = masked("random_box", x, seeded(9), ratio=(low, low + 0.2), aspect=(0.33, 3.0), literal=printed)
        assert 1 - mask.float().mean().item() == pytest.approx(expected, abs=0.004)


def test_boxes_reach_every_border():
    mask = masked("random_box", torch.empty(500, 1, 6, 6), seeded(), ratio=(0.2, 0.3), aspect=(1.0, 1.0))
    assert (mask.amin(0)[0] == 0).all()


@pytest.mark.parametrize("name", ["random_box", "cutout", "grid_mask"])
def test_masked_area_follows_the_ratio(name: str):
    mask = masked(name, torch.empty(3000, 1, 60, 60), seeded(1), ratio=(0.3, 0.5))
    assert hidden(mask).mean().item() == pytest.approx(0.4, abs=0.012)


def test_cutout_hides_one_square():
    mask = masked("cutout", torch.empty(50, 1, 40, 30), seeded(1), ratio=(0.25, 0.25))
    rows, columns = (mask[:, 0] == 0).any(2).sum(1), (mask[:, 0] == 0).any(1).sum(1)
    assert set(rows.tolist()) == set(columns.tolist()) == {round(math.sqrt(300))}


def test_grid_mask_repeats_with_its_period():
    mask = masked("grid_mask", torch.empty(20, 1, 60, 60), seeded(4), ratio=(0.36, 0.36), period=(0.25, 0.25))
    assert torch.equal(mask[..., 15:, :], mask[..., :-15, :])
    assert torch.equal(mask[..., 15:], mask[..., :-15])
    assert ((mask[:, 0] == 0).sum((1, 2)) == 16 * 9**2).all()


def test_random_erasing_hides_fitting_rectangles():
    mask = masked("random_erasing", torch.empty(800, 1, 50, 50), seeded(3), ratio=(0.1, 0.3))
    gone = mask[:, 0] == 0
    area = gone.any(2).sum(1) * gone.any(1).sum(1)
    assert torch.equal(area, gone.sum((1, 2)))
    assert hidden(mask).mean().item() == pytest.approx(0.2, abs=0.01)
    assert hidden(masked("random_erasing", torch.empty(9, 1, 50, 50), seeded(), ratio=(1.0, 1.0))).tolist() == [0] * 9


@pytest.mark.parametrize("name", list(MASKS))
def test_masks_are_binary_drawn_from_the_generator_and_keep_dtype(name: str):
    x = images(0, 4, 28, 32).double()
    options = known_settings(name, ratio=(0.4, 0.6), patch_size=7)
    mask, again, other = (masked(name, x, seeded(s), **options) for s in (1, 1, 2))
    assert mask.shape == (4, 1, 28, 32)
    assert mask.dtype == x.dtype
    assert ((mask == 0) | (mask == 1)).all()
    assert torch.equal(mask, again)
    assert torch.equal(mask, other) == (name == "none")


@pytest.mark.parametrize("ratio", [(0.8, 0.6), (60, 80), (-0.1, 0.5)])
def test_bad_ratios_are_named(ratio: tuple[float, float]):
    with pytest.raises(UserError, match="mask ratio is"):
        masked("random_box", torch.empty(1, 3, 8, 8), seeded(), ratio=ratio)
    with pytest.raises(UserError, match="patch_size is 9"):
        masked("texture_aware", torch.empty(1, 3, 8, 8), seeded(), ratio=(0, 1), patch_size=9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", list(MASKS))
def test_masks_are_equal_on_a_gpu(name: str):
    x = (images(0, 8, 56, 56) * 64).round() / 64
    options = known_settings(name, ratio=(0.4, 0.6), patch_size=7)
    there = masked(name, x.cuda(), seeded(1), **options)
    assert torch.equal(there.cpu(), masked(name, x, seeded(1), **options))


def test_one_ratio_a_batch_hides_as_many_patches_in_every_image():
    x = images(4, 64)
    shared = hidden(masked("texture_aware", x, seeded(), ratio=(0.0, 1.0), patch_size=4, ratio_per="batch"))
    own = hidden(masked("texture_aware", x, seeded(), ratio=(0.0, 1.0), patch_size=4, ratio_per="image"))
    assert len(shared.unique()) == 1 < 10 < len(own.unique())


@pytest.mark.parametrize(("distribution", "tall"), [("uniform", 1 - 0.67 / 2.67), ("log_uniform", 0.4976)])
def test_the_aspects_distribution_decides_how_often_a_box_is_tall(distribution: str, tall: float):
    n = 4000
    shown = (
        masked("random_box", torch.zeros(n, 1, 100, 100), seeded(), ratio=(0.1, 0.1), distribution=distribution) == 0
    )
    heights, widths = shown.any(3).sum((1, 2)), shown.any(2).sum((1, 2))
    assert abs(float((heights > widths).double().mean()) - tall) < 4 * (0.25 / n) ** 0.5


def test_a_grids_period_and_an_erased_aspect_are_kept_to():
    x = torch.zeros(200, 1, 96, 96)
    rows = masked("grid_mask", x, seeded(), ratio=(0.25, 0.25), period=(0.25, 0.25))[:, 0].amin(2) == 0
    assert torch.equal(rows[:, :72], rows[:, 24:])  # cells of 24 pixels
    assert (rows.sum(1) == 48).all()
    erased = masked("random_erasing", x, seeded(), ratio=(0.1, 0.1), aspect=(4.0, 4.0)) == 0
    heights, widths = erased.any(3).sum((1, 2)), erased.any(2).sum((1, 2))
    assert set(heights.tolist()) == {61} and set(widths.tolist()) == {15}  # the root of 921.6, doubled and halved
