from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.errors import UserError
from tellsign.methods.losses import binary_cross_entropy, supervised_contrastive


def features(n: int, d: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_supcon(z: list[list[float]], y: list[int], tau: float) -> list[float]:
    """Eq. 4 of the rescale paper, the term of each anchor that has positives."""
    dot = lambda a, b: sum(p * q for p, q in zip(a, b, strict=True))  # noqa: E731
    terms = []
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if y[p] == y[i] and p != i]
        below = sum(math.exp(dot(z[i], z[j]) / tau) for j in range(len(z)) if j != i)
        if positives:
            logs = [math.log(math.exp(dot(z[i], z[p]) / tau) / below) for p in positives]
            terms.append(-sum(logs) / len(positives))
    return terms


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.floats(0.2, 3), st.booleans())
def test_supervised_contrastive_is_equation_4(y: list[int], tau: float, normalise: bool):
    z = features(len(y))
    terms = slow_supcon((z / z.norm(dim=1, keepdim=True) if normalise else z).tolist(), y, tau)
    fast = {
        reduction: supervised_contrastive(z, torch.tensor(y), tau, normalise=normalise, reduction=reduction).item()
        for reduction in ("sum", "mean")
    }
    assert fast["sum"] == pytest.approx(sum(terms), rel=1e-9, abs=1e-12)
    assert fast["mean"] == pytest.approx(sum(terms) / max(len(terms), 1), rel=1e-9, abs=1e-12)


def test_supervised_contrastive_in_closed_form():
    """Equal features: every share is 1/(n-1), so each of n anchors costs log(n-1)."""
    loss = supervised_contrastive(torch.ones(8, 3), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), 0.07)
    assert loss.item() == pytest.approx(8 * math.log(7), rel=1e-6)


def test_anchors_without_positives_add_nothing_and_still_repel():
    z = features(4).requires_grad_()
    assert supervised_contrastive(z, torch.tensor([0, 1, 2, 3]), 0.1).item() == 0
    loss = supervised_contrastive(z, torch.tensor([0, 0, 1, 2]), 0.1)
    loss.backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert (z.grad[2:].abs().sum(1) > 0).all()


def test_one_row_has_finite_gradient():
    z = features(1).requires_grad_()
    supervised_contrastive(z, torch.tensor([0]), 0.1).backward()
    assert z.grad is not None
    assert z.grad.tolist() == [[0.0] * 5]


def test_supervised_contrastive_stays_in_float32_under_autocast():
    z, y = features(16).float(), torch.arange(16) % 4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = supervised_contrastive(z, y, 0.07)
    assert cast.dtype == torch.float32
    assert cast.item() == supervised_contrastive(z, y, 0.07).item()


def test_binary_losses_in_closed_form():
    logits, y = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([1, 0, 0])
    p = [1 / (1 + math.exp(-v)) for v in logits.tolist()]
    expected = -(math.log(p[0]) + math.log(1 - p[1]) + math.log(1 - p[2])) / 3
    assert binary_cross_entropy(logits, y).item() == pytest.approx(expected, rel=1e-6)
    two = torch.stack([torch.zeros(3), logits], 1)  # TIDY Eq. 8: the softmax of two outputs
    assert torch.nn.functional.cross_entropy(two, y).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": 0.1, "reduction": "average"}])
def test_bad_settings_are_named(options: dict):
    with pytest.raises(UserError, match=r"temperature is 0|unknown reduction 'average'"):
        supervised_contrastive(features(2), torch.tensor([0, 0]), **options)
