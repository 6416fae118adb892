"""Measures of contrastive learning against slow loops, closed forms, and an encoder that is constant."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from tellsign.methods.contrast import chance_loss, contrast, cosines, mean_cosine, retrieval, retrieval_by_chance
from tellsign.methods.losses import supervised_contrastive

RATIOS, PHASES, IMAGES, PATCHES = 3, 2, 4, 2
GRID = torch.cartesian_prod(*(torch.arange(n) for n in (RATIOS, PHASES, IMAGES, PATCHES)))
RATIO, LABEL, IMAGE = GRID[:, 0], GRID[:, 0] * PHASES + GRID[:, 1], GRID[:, 2]
N = len(GRID)
FEATURES = torch.randn(N, 5, generator=torch.Generator().manual_seed(0)) + 1
CONSTANT = torch.full((N, 5), 0.3) + 1e-8 * FEATURES  # one point, but for rounding


def pairs(condition) -> list[float]:
    """Cosines of the ordered pairs that a condition keeps."""
    return [
        float(cosine_similarity(FEATURES[i].double(), FEATURES[j].double(), dim=0))
        for i, j in permutations(range(N), 2)
        if condition(i, j)
    ]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_mean_cosine_is_that_of_a_loop_over_pairs() -> None:
    assert mean_cosine(cosines(FEATURES)) == pytest.approx(mean(pairs(lambda i, j: True)), abs=1e-12)
    assert mean_cosine(cosines(CONSTANT)) == pytest.approx(1, abs=1e-12)
    assert mean_cosine(cosines(torch.eye(4))) == 0
    assert math.isnan(mean_cosine(cosines(FEATURES[:1])))


@pytest.mark.parametrize("labels", [RATIO, LABEL])
def test_contrast_is_that_of_a_loop_over_pairs_of_different_photographs(labels: torch.Tensor) -> None:
    one = pairs(lambda i, j: bool(IMAGE[i] != IMAGE[j] and labels[i] == labels[j]))
    two = pairs(lambda i, j: bool(IMAGE[i] != IMAGE[j] and labels[i] != labels[j]))
    expected = (mean(one) - mean(two)) / (1 - mean(one + two))
    assert contrast(cosines(FEATURES), labels, IMAGE) == pytest.approx(expected, abs=1e-12)


def test_contrast_of_features_that_are_the_label_the_photograph_or_nothing() -> None:
    one_hot = torch.eye(RATIOS)[RATIO]
    same = (N // RATIOS - N // RATIOS // IMAGES) / (N - N // IMAGES)  # share of positives among the pairs
    assert contrast(cosines(one_hot), RATIO, IMAGE) == pytest.approx(1 / (1 - same))
    assert contrast(cosines(torch.eye(IMAGES)[IMAGE]), RATIO, IMAGE) == 0
    assert contrast(cosines(torch.full((N, 5), 0.3)), RATIO, IMAGE) == 0
    assert math.isnan(contrast(cosines(FEATURES), RATIO, torch.zeros(N)))
    assert math.isnan(contrast(cosines(FEATURES), torch.zeros(N), IMAGE))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("labels", [LABEL, torch.arange(N) // 3, torch.tensor([0, 0, 0, 1, 1, *range(2, N - 3)])])
def test_chance_is_the_loss_of_one_point_at_any_temperature(labels: torch.Tensor, reduction: str) -> None:
    point = torch.ones(N, 3, dtype=torch.float64)
    for temperature in (0.07, 1.0):
        loss = supervised_contrastive(point, labels, temperature, reduction=reduction)
        assert chance_loss(labels, reduction) == pytest.approx(float(loss), rel=1e-12)
    assert chance_loss(LABEL, "sum") == pytest.approx(N * math.log(N - 1))
    assert chance_loss(torch.arange(N), reduction) == 0


def slow_retrieval(labels: torch.Tensor) -> float:
    """Hits of a loop; random features have no ties."""
    hits = []
    for i in range(N):
        others = [j for j in range(N) if IMAGE[j] != IMAGE[i]]
        nearest = max(others, key=lambda j: float(cosine_similarity(FEATURES[i], FEATURES[j], dim=0)))
        hits.append(float(labels[nearest] == labels[i]))
    return mean(hits)


@pytest.mark.parametrize("labels", [RATIO, LABEL])
def test_retrieval_is_that_of_a_loop(labels: torch.Tensor) -> None:
    assert retrieval(FEATURES, labels, IMAGE) == pytest.approx(slow_retrieval(labels))


@pytest.mark.parametrize(("labels", "chance"), [(RATIO, 1 / RATIOS), (LABEL, 1 / RATIOS / PHASES)])
def test_a_constant_encoder_retrieves_by_chance_and_a_perfect_one_always(labels: torch.Tensor, chance: float) -> None:
    assert retrieval_by_chance(labels, IMAGE) == pytest.approx(chance)
    assert retrieval(CONSTANT, labels, IMAGE) == pytest.approx(chance)
    assert retrieval(torch.eye(IMAGES)[IMAGE], labels, IMAGE) == pytest.approx(chance)
    assert retrieval(torch.eye(RATIOS * PHASES)[LABEL], labels, IMAGE) == 1


def test_half_of_a_tie_is_half_a_hit() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    labels, images = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 3])
    # the first two are halved by the third, which has no neighbour of its label; the last is tied with all three
    assert retrieval(features, labels, images) == pytest.approx((0.5 + 0.5 + 0 + 1 / 3) / 4)
