"""Metrics against scikit-learn, closed forms and slow loops."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score

from tellsign.errors import UserError
from tellsign.evaluation import comparisons, measuring
from tellsign.evaluation.measuring import Scored, measure
from tellsign.evaluation.metrics import METRICS, described
from tellsign.evaluation.tally import curve
from tellsign.schema.evaluation import Evaluate

FEW_LEVELS = hnp.arrays(np.int64, st.integers(4, 40), elements=st.integers(0, 5))


def two_classes(labels: np.ndarray) -> np.ndarray:
    labels = labels % 2
    labels[:2] = [0, 1]
    return labels


@settings(deadline=None, max_examples=80)
@given(FEW_LEVELS, st.integers(0, 2**32 - 1))
def test_ranking_metrics_equal_scikit_learn_with_ties(levels: np.ndarray, seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels = two_classes(draw.integers(0, 2, len(levels)))
    scores = levels / 8
    weights = draw.integers(0, 4, len(levels)).astype(float)
    weights[:2] = 1
    for weighing in (None, weights):
        found = measure(labels, scores, 0.5, weighing)
        assert found["ap_fake"] == pytest.approx(average_precision_score(labels, scores, sample_weight=weighing))
        assert found["ap_real"] == pytest.approx(average_precision_score(1 - labels, -scores, sample_weight=weighing))
        assert found["auc"] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weighing))


@settings(deadline=None, max_examples=50)
@given(FEW_LEVELS, st.integers(0, 2**32 - 1))
def test_integer_weights_equal_repeated_images(levels: np.ndarray, seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels = two_classes(draw.integers(0, 2, len(levels)))
    counts = draw.integers(0, 4, len(levels))
    counts[:2] = 1
    weighed = measure(labels, levels / 8, 0.3, counts.astype(float))
    repeated = measure(np.repeat(labels, counts), np.repeat(levels / 8, counts), 0.3)
    for name in METRICS:
        assert weighed[name] == pytest.approx(repeated[name]), name


def test_accuracies_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    scores = np.array([0.1, 0.5, 0.6, 0.2, 0.9, 0.4])
    found = measure(labels, scores, 0.5)
    assert found["accuracy"] == pytest.approx(4 / 6)  # 0.5 itself is called real
    assert found["accuracy_real"] == pytest.approx(3 / 4)
    assert found["accuracy_fake"] == pytest.approx(1 / 2)
    assert found["accuracy_oracle"] == pytest.approx(5 / 6)  # between 0.6 and 0.9


@pytest.mark.parametrize("threshold", [-1.0, 2.0])
def test_thresholds_beyond_all_scores(threshold: float) -> None:
    found = measure(np.array([0, 1, 1]), np.array([0.2, 0.4, 0.6]), threshold)
    assert (found["accuracy_real"], found["accuracy_fake"]) == ((0, 1) if threshold < 0 else (1, 0))


def test_oracle_never_loses_and_may_call_everything_real() -> None:
    found = measure(np.array([0, 0, 0, 1]), np.array([0.9, 0.8, 0.7, 0.1]), 0.5)
    assert found["accuracy_oracle"] == pytest.approx(3 / 4)
    assert found["accuracy"] == pytest.approx(0.0)


def test_ece_equals_a_loop_over_bins() -> None:
    draw = np.random.default_rng(0)
    scores = np.append(draw.random(300), [0.0, 1.0])
    labels = draw.integers(0, 2, 302)
    expected = 0.0
    for low in range(15):
        inside = (scores >= low / 15) & (scores < (low + 1) / 15 if low < 14 else scores <= 1)
        expected += abs(labels[inside].mean() - scores[inside].mean()) * inside.mean()
    assert measure(labels, scores, 0.5)["ece"] == pytest.approx(expected)


def test_one_class_gives_nan_instead_of_a_number() -> None:
    found = measure(np.array([1, 1]), np.array([0.2, 0.9]), 0.5)
    assert math.isnan(found["auc"])
    assert math.isnan(found["ap_real"])
    assert math.isnan(found["accuracy_real"])
    assert found["accuracy_fake"] == pytest.approx(0.5)


def test_interval_of_accuracy_is_the_binomial_one() -> None:
    labels = np.repeat([0, 1], 500)
    scores = np.where(np.arange(1000) % 10 == 0, 1.0 - labels, labels).astype(float)  # 90 % right in each class
    values = measuring.bootstrap(
        [Scored(np.arange(1000), labels, scores)], labels, 0.5, 4000, np.random.default_rng(0)
    )[0]["accuracy"]
    low, high = measuring.interval(values)
    half = 1.96 * math.sqrt(0.9 * 0.1 / 1000)
    assert low == pytest.approx(0.9 - half, abs=0.003)
    assert high == pytest.approx(0.9 + half, abs=0.003)


def test_bootstrap_equals_a_loop_over_resamples() -> None:
    draw = np.random.default_rng(3)
    labels = two_classes(draw.integers(0, 2, 30))
    scores = np.round(draw.random(30), 1)
    values = measuring.bootstrap([Scored(np.arange(30), labels, scores)], labels, 0.5, 50, np.random.default_rng(7))[0]
    counts = np.concatenate(list(measuring.resampled(labels, 50, np.random.default_rng(7))))
    for row, count in enumerate(counts.astype(int)):
        again = np.repeat(np.arange(30), count)
        assert values["ap_fake"][row] == pytest.approx(average_precision_score(labels[again], scores[again]))
        assert labels[again].sum() == labels.sum()


def test_blocks_do_not_change_the_draws_of_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(measuring.resampled(np.zeros(20, int), 10, np.random.default_rng(1))))
    monkeypatch.setattr(measuring, "BLOCK", 60)
    parts = list(measuring.resampled(np.zeros(20, int), 10, np.random.default_rng(1)))
    assert len(parts) == 4
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_shared_reals_are_resampled_together() -> None:
    # images 0-2 are the reals of subsets 0 and 1, images 3-4 those of subset 2; fakes are their own
    subset = np.array([0, 0, 0, 1, 1, 1, 2, 2, 0, 1, 2])
    image = np.array([0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7])
    label = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    groups = measuring.strata(subset, image, label)
    assert len(set(groups[:3])) == 1
    assert groups[3] == groups[4]
    assert len({groups[0], groups[3], *groups[5:]}) == 5


def test_partly_shared_reals_join_a_chain_of_subsets() -> None:
    subset, image = np.array([0, 1, 1, 2, 3]), np.array([0, 0, 1, 1, 2])
    assert measuring.strata(subset, image, np.zeros(3, int)).tolist() == [0, 0, 1]
    weights = np.array([[2.0, 0.0, 1.0, 1.0]])
    np.testing.assert_allclose(measuring.balanced(weights, np.array([0, 0, 0, 1])), [[2, 0, 1, 1]])
    np.testing.assert_allclose(measuring.balanced(weights, np.array([1, 1, 0, 0])), [[2, 0, 1, 1]])
    np.testing.assert_allclose(measuring.balanced(weights, np.array([0, 1, 1, 1])), [[1, 0, 1.5, 1.5]])


def test_sharing_reals_widens_the_interval_of_the_mean() -> None:
    # 8 subsets, all errors on the reals: shared reals leave 50 independent images, own reals 400
    labels = np.repeat([0, 1], 50)
    scores = np.where(np.arange(100) % 2 == 0, 0.9, 0.1) * (labels == 0) + 0.9 * (labels == 1)
    wide, narrow = [], []
    for number in range(8):
        fakes = np.arange(50) + 50 * (number + 8)
        wide.append(Scored(np.append(np.arange(50), fakes), labels, scores))
        narrow.append(Scored(np.append(np.arange(50) + 50 * number, fakes), labels, scores))
    spans = []
    for sets in (wide, narrow):
        image = np.concatenate([one.image for one in sets])
        label = np.zeros(image.max() + 1, int)
        label[image] = np.tile(labels, 8)
        groups = measuring.strata(np.repeat(np.arange(8), 100), image, label)
        values = measuring.bootstrap(sets, groups, 0.5, 1000, np.random.default_rng(0))
        low, high = measuring.interval(np.mean([value["accuracy"] for value in values], axis=0))
        spans.append(high - low)
    assert spans[0] / spans[1] == pytest.approx(math.sqrt(8), rel=0.2)


def test_a_resample_without_a_class_is_left_out() -> None:
    assert measuring.interval(np.array([np.nan, 0.2, 0.2])) == (0.2, 0.2)
    assert all(math.isnan(end) for end in measuring.interval(np.array([np.nan])))


@settings(deadline=None, max_examples=60)
@given(FEW_LEVELS, st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, "oracle"]))
def test_bootstrap_equals_weighed_metrics_of_each_resample(levels: np.ndarray, seed: int, threshold: object) -> None:
    draw = np.random.default_rng(seed)
    labels = two_classes(draw.integers(0, 2, len(levels)))
    image, groups = np.arange(len(levels)), labels
    if threshold != "oracle":  # whose ties are broken by rounding where weights are fractions
        # half of the images stand in another subset only: a resample does not keep this one's class balance
        image, groups = draw.permutation(2 * len(levels))[: len(levels)], np.zeros(2 * len(levels), int)
    one = Scored(image, labels, (levels / 8).astype(np.float32))
    (found,) = measuring.bootstrap([one], groups, threshold, 20, np.random.default_rng(seed))
    counts = np.concatenate(list(measuring.resampled(groups, 20, np.random.default_rng(seed))))
    weights = measuring.balanced(counts[:, one.image].astype(float), labels)
    expected = measure(labels, one.scores, threshold, weights)
    whole = np.isfinite(weights.sum(axis=1))  # a resample without a label: NaN in what needs it
    for name in METRICS:
        np.testing.assert_allclose(found[name][whole], expected[name][whole], atol=2e-6, err_msg=name)
    assert np.isnan(found["auc"][~whole]).all()


def test_oracle_as_threshold_is_the_oracle_accuracy_and_calls_agree() -> None:
    draw = np.random.default_rng(1)
    for _ in range(20):
        labels, scores = two_classes(draw.integers(0, 2, 12)), np.round(draw.random(12), 1)
        found = measure(labels, scores, "oracle")
        called = comparisons.called_fake(labels, scores, "oracle")
        assert found["accuracy"] == found["accuracy_oracle"] == pytest.approx(np.mean(called == (labels == 1)))
        assert found["accuracy_fake"] == pytest.approx(np.mean(called[labels == 1]))
    assert not comparisons.called_fake(np.array([0, 1]), np.array([0.9, 0.1]), "oracle").any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.4, "oracle"]))
def test_batches_equal_a_loop_of_the_metrics_of_each(seed: int, threshold: object) -> None:
    draw = np.random.default_rng(seed)
    labels, scores = draw.integers(0, 2, (7, 5)), draw.integers(0, 6, (7, 5)) / 5
    each = [measure(one, held, threshold) for one, held in zip(labels, scores, strict=True)]
    found = measuring.measure_batches(labels, scores, threshold)
    for name in METRICS:
        known = [one[name] for one in each if not math.isnan(one[name])]
        assert found[name] == pytest.approx(np.mean(known), nan_ok=True), name


def test_shuffled_batches_hold_every_image_once_and_keep_the_accuracy() -> None:
    labels = np.repeat([0, 1], [30, 18])
    scores = np.where(np.arange(48) % 3 == 0, 1 - labels, labels).astype(float)
    pools = [np.flatnonzero(labels == value) for value in (0, 1)]
    batches = measuring.drawn_batches(pools, 16, "shuffled", np.random.default_rng(0))
    assert sorted(batches.ravel().tolist()) == list(range(48))
    found = measuring.measure_batches(labels[batches], scores[batches], 0.5)
    assert found["accuracy"] == pytest.approx(2 / 3) == measure(labels, scores, 0.5)["accuracy"]
    assert measuring.drawn_batches(pools, 20, "shuffled", np.random.default_rng(0)).shape == (2, 20)  # 8 are left out


def test_balanced_batches_average_both_labels_equally() -> None:
    # 9 reals a fake, reals all right, fakes all wrong: 90 % of the set, 50 % of balanced batches
    labels = np.repeat([0, 1], [9000, 1000])
    scores = np.zeros(10_000)
    pools = [np.flatnonzero(labels == value) for value in (0, 1)]
    batches = measuring.drawn_batches(pools, 16, "balanced", np.random.default_rng(0))
    found = measuring.measure_batches(labels[batches], scores[batches], 0.5)
    assert measure(labels, scores, 0.5)["accuracy"] == pytest.approx(0.9)
    assert found["accuracy"] == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(10_000))


def test_average_precision_of_batches_is_above_that_of_the_set() -> None:
    # scores that know nothing: AP is the share of fakes; in a pair of both labels it is 1 or 1/2, in the mean 3/4
    draw = np.random.default_rng(0)
    labels, scores = np.tile([0, 1], (20_000, 1)), draw.random((20_000, 2))
    assert measuring.measure_batches(labels, scores, 0.5)["ap_fake"] == pytest.approx(
        0.75, abs=4 * 0.25 / math.sqrt(2e4)
    )
    assert measure(labels.ravel(), scores.ravel(), 0.5)["ap_fake"] == pytest.approx(0.5, abs=0.02)


def test_bootstrap_of_batches_is_centred_on_their_mean() -> None:
    labels = np.repeat([0, 1], 80)
    scores = np.where(np.arange(160) % 4 == 0, 1 - labels, labels).astype(float)
    one = Scored(np.arange(160), labels, scores)
    (found,) = measuring.bootstrap([one], labels, 0.5, 400, np.random.default_rng(0), batch=16)
    # binomial spread twice: of the resampled images and of the batches drawn from them
    sd = math.sqrt(2 * 0.75 * 0.25 / 160)
    assert found["accuracy"].mean() == pytest.approx(0.75, abs=4 * sd / 20)
    assert found["accuracy"].std() == pytest.approx(sd, rel=0.15)


def test_too_few_images_for_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 16 images"):
        measuring.drawn_batches([np.arange(3), np.arange(3, 6)], 16, "balanced", np.random.default_rng(0))


def test_mcnemar_is_the_exact_binomial_tail() -> None:
    right = np.array([1] * 9 + [0] * 1 + [1] * 5, bool)
    other = np.array([0] * 9 + [1] * 1 + [1] * 5, bool)
    assert comparisons.mcnemar(right, other) == pytest.approx(2 * (1 + 10) / 2**10)
    assert comparisons.mcnemar(right, right) == 1.0
    many = np.arange(4000) % 2 == 0
    assert comparisons.mcnemar(many, ~many) == 1.0


def test_an_empty_curve_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        curve(np.array([], int), np.array([]))


def test_the_registry_names_a_module_and_words_for_each_metric() -> None:
    assert tuple(METRICS) == Evaluate().metrics  # one that is added later joins when a configuration names it
    found = measure(np.array([0, 1]), np.array([0.2, 0.9]), 0.5, metrics=measuring.functions(["auc", "accuracy"]))
    assert list(found) == ["auc", "accuracy"]
    assert all(described(name).axis_label.endswith("(%)") for name in METRICS)
    assert described("mcnemar_p").factor == 1
    with pytest.raises(UserError, match=r"unknown metric 'acuracy'. Did you mean 'accuracy'"):
        measuring.functions(["acuracy"])


def test_names_labels_and_units_need_no_numpy() -> None:
    code = "import sys; import tellsign.evaluation.metrics; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
