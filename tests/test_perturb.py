from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tellsign.data.perturbations import PERTURBATIONS, combined, filters
from tellsign.data.perturbations.blur import KERNELS
from tellsign.errors import UserError

FRANK = ["noise", "blur", "jpeg", "crop", "combined"]
ALL = [(name, {"variant": variant}) for name in FRANK for variant in ("text", "frank_code")]
# the three levels of each kind, mildest first (TIDY §4.2 and Fig. 3)
TIDY_SEVERITIES = {"tidy-noise": (0.001, 0.005, 0.01), "tidy-blur": (1.0, 2.0, 3.0), "tidy-jpeg": (75, 50, 25)}
ALL += [(name, {"severity": s}) for name, levels in TIDY_SEVERITIES.items() for s in levels] + [("none", {})]
ALL += [("chain", {"steps": {"jpeg": 0.5, "blur": 0.5}})]


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(h: int = 40, w: int = 52, seed: int = 0) -> np.ndarray:
    return draws(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def flat(value: int, side: int = 64) -> np.ndarray:
    return np.full((side, side, 3), value, dtype=np.uint8)


@pytest.mark.parametrize(("name", "options"), ALL)
@settings(deadline=None, max_examples=6)
@given(st.integers(12, 50), st.integers(12, 50), st.integers(0, 99))
def test_shape_type_and_determinism(name: str, options: dict, h: int, w: int, seed: int):
    image = picture(h, w, seed)
    before = image.copy()
    first, second = (PERTURBATIONS.load(name)(image, draws(seed), **options) for _ in range(2))
    assert first.shape == (h, w, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(image, before)
    assert torch.from_numpy(first).shape == (h, w, 3)


@pytest.mark.parametrize("name", FRANK)
def test_each_generator_draws_another_result(name: str):
    image = picture()
    results = {PERTURBATIONS.load(name)(image, draws(seed)).tobytes() for seed in range(8)}
    assert len(results) > 1


@pytest.mark.parametrize("name", FRANK)
def test_probability(name: str):
    image = picture(16, 16)
    assert PERTURBATIONS.load(name)(image, draws(), probability=0.0) is image
    kept = sum(PERTURBATIONS.load(name)(image, draws(s), probability=0.5) is image for s in range(200))
    assert kept == pytest.approx(100, abs=5 * math.sqrt(50))


def test_noise_of_the_text_has_the_drawn_variance():
    """Mean variance over U[5, 20] is 12.5, plus 1/12 of rounding; the mean stays."""
    noisy = np.stack([PERTURBATIONS.load("noise")(flat(128), draws(s)).astype(float) for s in range(300)])
    variance = noisy.var(axis=(1, 2, 3))
    assert variance.mean() == pytest.approx(12.5 + 1 / 12, abs=5 * 4.33 / math.sqrt(300))
    assert 4.5 < variance.min() < 6.5
    assert 18.5 < variance.max() < 21
    assert noisy.mean() == pytest.approx(128, abs=0.02)


def test_noise_of_franks_code_has_the_drawn_deviation_and_is_cut_off():
    """Mean deviation over U[5, 20] is 12.5; cutting off the fraction lowers the mean by one half."""
    noise = PERTURBATIONS.load("noise")
    noisy = np.stack([noise(flat(128), draws(s), variant="frank_code").astype(float) for s in range(300)])
    assert noisy.std(axis=(1, 2, 3)).mean() == pytest.approx(12.5, abs=5 * 4.33 / math.sqrt(300))
    assert noisy.mean() == pytest.approx(127.5, abs=0.05)


def slow_blur(image: list[list[float]], k: int, sigma: float) -> list[list[float]]:
    """Two-dimensional Gaussian of k x k taps, border mirrored without its pixel."""
    h, w, r = len(image), len(image[0]), k // 2
    tap = {(i, j): math.exp(-(i * i + j * j) / (2 * sigma**2)) for i in range(-r, r + 1) for j in range(-r, r + 1)}
    total = sum(tap.values())

    def mirror(v: int, n: int) -> int:
        return -v if v < 0 else 2 * (n - 1) - v if v >= n else v

    return [
        [sum(t * image[mirror(y + i, h)][mirror(x + j, w)] for (i, j), t in tap.items()) / total for x in range(w)]
        for y in range(h)
    ]


@pytest.mark.parametrize("k", KERNELS)
@pytest.mark.parametrize("sigma", [1.1, 4.0])
def test_blur_is_a_truncated_gaussian_with_mirrored_border(k: int, sigma: float):
    image = picture(11, 13, k)
    slow = np.array(slow_blur(image[..., 1].tolist(), k, sigma))
    assert np.abs(filters.gaussian_blur(image, k, sigma)[..., 1] - slow).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("variant", "sigmas"), [("text", (0.8, 1.1, 1.4, 1.7)), ("frank_code", (4.0,) * 4)])
def test_impulse_response_of_the_drawn_blur(variant: str, sigmas: tuple[float, ...]):
    impulse = flat(0, 21)
    impulse[10, 10] = 255
    kernels = {k: filters.gaussian_kernel(k, sigma) for k, sigma in zip(KERNELS, sigmas, strict=True)}
    seen = set()
    for seed in range(60):
        row = PERTURBATIONS.load("blur")(impulse, draws(seed), variant=variant)[10, :, 0]
        k = min(KERNELS, key=lambda k: abs(255 * kernels[k].max() ** 2 - row[10]))
        assert np.abs(row[10 - k // 2 : 11 + k // 2] - 255 * kernels[k][k // 2] * kernels[k]).max() <= 0.5
        assert row.astype(int).sum() == pytest.approx(255 * kernels[k].max(), abs=k / 2)
        seen.add(k)
    assert seen == set(KERNELS)


@pytest.mark.parametrize("quality", [10, 25, 50, 75, 95])
def test_jpeg_of_a_flat_image_in_closed_form(quality: int):
    """A flat block has one coefficient, 8 (v - 128), rounded to multiples of the table's first entry."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    step = (16 * scale + 50) // 100
    for value in (3, 60, 101, 128, 200, 250):
        level = 8 * (value - 128) / step
        expected = 128 + step / 8 * math.copysign(math.floor(abs(level) + 0.5), level)
        result = filters.jpeg_roundtrip(flat(value, 16), quality)
        assert np.abs(result - np.clip(expected, 0, 255)).max() <= 0.5


def test_jpeg_qualities(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    for module in ("jpeg", "tidy_jpeg"):
        noted = lambda image, quality: asked.append(quality) or image  # noqa: E731
        monkeypatch.setattr(f"tellsign.data.perturbations.{module}.jpeg_roundtrip", noted)
    image = picture(4, 4)
    for seed in range(1500):
        PERTURBATIONS.load("jpeg")(image, draws(seed))
    assert set(asked) == set(range(10, 76))
    asked.clear()
    assert np.array_equal(PERTURBATIONS.load("jpeg")(image, draws(), variant="frank_code"), image)
    PERTURBATIONS.load("tidy-jpeg")(image, draws(), severity=25)
    assert asked == [95, 25]


def test_franks_jpeg_swaps_red_and_blue_while_encoding():
    image = picture(seed=5)
    swapped = filters.jpeg_roundtrip(np.ascontiguousarray(image[..., ::-1]), 95)[..., ::-1]
    assert np.array_equal(PERTURBATIONS.load("jpeg")(image, draws(), variant="frank_code"), swapped)
    assert not np.array_equal(swapped, filters.jpeg_roundtrip(image, 95))


@settings(deadline=None, max_examples=20)
@given(st.integers(4, 20), st.integers(4, 20), st.integers(4, 30), st.integers(4, 30))
def test_cubic_resize_is_torchs_bicubic(h: int, w: int, height: int, width: int):
    image = picture(h, w)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    theirs = F.interpolate(x, size=(height, width), mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
    ours = filters.resize_cubic(image, height, width)
    assert np.abs(ours - theirs.clamp(0, 255).numpy()).max() <= 0.5 + 1e-6


def test_crop_enlarges_the_centre():
    image = picture(50, 80)
    assert np.array_equal(filters.central_crop(image, 0.1), filters.resize_cubic(image[2:48, 4:76], 50, 80))
    assert np.array_equal(filters.central_crop(image, 0.0), image)
    assert np.array_equal(PERTURBATIONS.load("crop")(flat(77), draws()), flat(77))


def test_crop_shares(monkeypatch: pytest.MonkeyPatch):
    asked: list[float] = []
    noted = lambda image, share: asked.append(share) or image  # noqa: E731
    monkeypatch.setattr("tellsign.data.perturbations.crop.central_crop", noted)
    for seed in range(500):
        PERTURBATIONS.load("crop")(picture(4, 4), draws(seed))
    assert min(asked) == pytest.approx(0.05, abs=0.002)
    assert max(asked) == pytest.approx(0.2, abs=0.002)
    assert np.mean(asked) == pytest.approx(0.125, abs=0.01)


def test_combined_of_the_text_applies_all_in_the_papers_order():
    image, g = picture(), draws(3)
    g.random()  # the coin
    for name in ("noise", "blur", "jpeg", "crop"):
        image = combined.FOUR[name]["text"](image, g)
    assert np.array_equal(PERTURBATIONS.load("combined")(picture(), draws(3)), image)


def test_combined_of_franks_code_applies_one_of_four_equally_often(monkeypatch: pytest.MonkeyPatch):
    for i, name in enumerate(("noise", "blur", "jpeg", "crop")):
        monkeypatch.setitem(combined.FOUR[name], "frank_code", lambda image, g, i=i: np.full_like(image, i))
    seen = [PERTURBATIONS.load("combined")(flat(9, 2), draws(s), variant="frank_code")[0, 0, 0] for s in range(800)]
    counts = np.bincount(seen)
    assert counts.tolist() == pytest.approx([200] * 4, abs=5 * math.sqrt(150))


def test_a_chain_of_certain_steps_applies_them_in_the_papers_order():
    image, g = picture(), draws(3)
    for name in ("noise", "crop"):
        image = PERTURBATIONS.load(name)(image, g)
    assert np.array_equal(PERTURBATIONS.load("chain")(picture(), draws(3), steps={"crop": 1.0, "noise": 1.0}), image)


def test_every_step_of_a_chain_has_a_probability_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """Each step adds a bit, so that an image tells which steps it went through; the coins are independent."""
    names, odds = ("noise", "blur", "jpeg", "crop"), (0.5, 0.25, 0.0, 1.0)
    for i, name in enumerate(names):
        monkeypatch.setitem(combined.FOUR[name], "text", lambda image, g, i=i: image + np.uint8(1 << i))
    steps = dict(zip(names, odds, strict=True))
    seen = [int(PERTURBATIONS.load("chain")(flat(0, 2), draws(s), steps=steps)[0, 0, 0]) for s in range(1200)]
    shares = np.bincount(seen, minlength=16) / 1200
    expected = [math.prod(p if n >> i & 1 else 1 - p for i, p in enumerate(odds)) for n in range(16)]
    assert shares == pytest.approx(expected, abs=5 * math.sqrt(0.25 * 0.75 / 1200))


def test_unknown_steps_of_a_chain_are_named():
    with pytest.raises(UserError, match=r"unknown step of perturbation 'chain' 'blurr'. Did you mean 'blur'"):
        PERTURBATIONS.load("chain")(picture(), draws(), steps={"blurr": 0.5})
    with pytest.raises(UserError, match="probability of perturbation 'noise' is 2"):
        PERTURBATIONS.load("chain")(picture(), draws(), steps={"noise": 2})


@pytest.mark.parametrize("severity", TIDY_SEVERITIES["tidy-noise"])
@pytest.mark.parametrize("unit", ["sigma", "variance"])
def test_tidy_noise_on_the_unit_interval(severity: float, unit: str):
    """Mean square change: the sum over levels n of n² P(n - 1/2 < 255 σ Z < n + 1/2)."""
    sigma = 255 * (severity if unit == "sigma" else math.sqrt(severity))
    cdf = lambda x: 0.5 * (1 + math.erf(x / sigma / math.sqrt(2)))  # noqa: E731
    expected = sum(n * n * (cdf(n + 0.5) - cdf(n - 0.5)) for n in range(-120, 121))
    change = (
        PERTURBATIONS.load("tidy-noise")(flat(128, 160), draws(1), severity=severity, unit=unit).astype(float) - 128
    )
    assert np.square(change).mean() == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("severity", TIDY_SEVERITIES["tidy-blur"])
def test_tidy_blur_of_an_edge_is_the_normal_distribution(severity: float):
    edge = flat(0, 41)
    edge[:, 21:] = 200
    row = PERTURBATIONS.load("tidy-blur")(edge, draws(), severity=severity)[20, :, 2].astype(float)
    expected = [200 * 0.5 * (1 + math.erf((x - 20.5) / severity / math.sqrt(2))) for x in range(41)]
    assert np.abs(row - expected).max() < 200 * 0.02 / severity


def test_unknown_options_are_named():
    with pytest.raises(UserError, match=r"unknown variant of perturbation 'noise' 'frank'.*frank_code, text"):
        PERTURBATIONS.load("noise")(picture(), draws(), variant="frank")
    with pytest.raises(UserError, match="probability of perturbation 'crop' is 50"):
        PERTURBATIONS.load("crop")(picture(), draws(), probability=50)
    with pytest.raises(UserError, match="unknown unit of TIDY's noise 'std'"):
        PERTURBATIONS.load("tidy-noise")(picture(), draws(), severity=0.1, unit="std")
