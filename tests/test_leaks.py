from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.data.leaks import auc, bits_per_pixel, bits_per_pixel_auc, format_auc, seen_before, validation_photographs
from tellsign.demo.web import jpeg_quality, rescale


@settings(deadline=None)
@given(
    real=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    fake=st.lists(st.integers(0, 9), min_size=1, max_size=12),
)
def test_auc_counts_pairs(real: list[int], fake: list[int]):
    pairs = [(f > r) + 0.5 * (f == r) for f in fake for r in real]
    assert auc(np.array(real), np.array(fake)) == pytest.approx(sum(pairs) / len(pairs))
    assert auc(np.array(fake), np.array(real)) == pytest.approx(1 - sum(pairs) / len(pairs))


def test_auc_needs_both():
    with pytest.raises(ValueError, match="at least one"):
        auc(np.array([]), np.array([1.0]))


def test_bits_per_pixel():
    bits = bits_per_pixel(np.array([100, 400]), np.array([10, 20]), np.array([20, 20]))
    np.testing.assert_allclose(bits, [4, 8])
    assert bits_per_pixel_auc(bits, bits + 10) == 1 and bits_per_pixel_auc(bits, bits) == 0.5


def draws(seed: int, count: int) -> np.ndarray:
    """Width, height and quality as the photographs and the fakes draw them."""
    generator, blank = np.random.default_rng(seed), np.zeros((176, 176, 3), np.uint8)
    sizes = [rescale(blank, generator)[0].shape[1::-1] for _ in range(count)]
    return np.array([(*size, jpeg_quality(generator)) for size in sizes])


def test_format_tells_nothing_of_the_demo_and_is_found_where_it_does():
    pytest.importorskip("sklearn")
    real_train, fake_train, real_test = draws(0, 600), draws(1, 600), draws(2, 600)
    shifted = draws(4, 200) + np.array([0, 0, 20])
    chance = format_auc(real_train, fake_train, real_test, {"ldm": draws(3, 600)})
    assert chance["ldm"] == pytest.approx(0.5, abs=0.06)  # three standard errors
    leaky = format_auc(real_train, draws(5, 600) + np.array([0, 0, 20]), real_test, {"ldm": shifted})
    assert leaky["ldm"] > 0.95


def test_what_was_seen_before_the_test_is_counted_by_pair():
    seen = {"a": ["1", "2", "2"], "b": ["9"], "c": []}
    assert seen_before(seen, {"x": ["2", "3"], "y": {"1", "2"}}) == {("a", "x"): 1, ("a", "y"): 2}


def test_validation_photographs_are_known_by_name():
    paths = ["n01440764/n01440764_10026.JPEG", "val/ILSVRC2012_val_00000293.JPEG", "ilsvrc2012_VAL_00000001.jpeg"]
    assert validation_photographs(paths) == paths[1:]
    assert validation_photographs(["a/my_ILSVRC2012_val_1.jpg", "ILSVRC2012_val_/1.jpg"]) == []
