from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tellsign.errors import UserError
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.detector import Detector
from tellsign.networks.heads import HEADS
from tellsign.networks.heads.linear_layer import Linear
from tellsign.networks.heads.mlp2_layers import Discrepancy
from tellsign.networks.heads.mlp_layers import Mlp
from tellsign.networks.heads.nearest_bank import Nearest
from tellsign.networks.state import load_strictly


@pytest.mark.parametrize("name", ["linear", "mlp", "mlp2"])
def test_trainable_heads_give_one_logit_an_image(name):
    settings = HEADS.settings()[name](name=name).model_dump(exclude={"name"})
    assert HEADS.load(name)(5, **settings)(torch.randn(3, 5)).shape == (3,)


def test_mlp_is_two_layers_with_a_relu():
    head = Mlp(2, hidden=2, dropout=0.0)
    with torch.no_grad():
        for layer, weight in ((head.layers[0], [[1.0, 0.0], [0.0, -1.0]]), (head.layers[3], [[2.0, 3.0]])):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.fill_(0.5)
    assert head(torch.tensor([[1.0, 4.0], [-1.0, -2.0]])).tolist() == [2 * 1.5 + 0.5, 3 * 2.5 + 0.5]


def test_dropout_acts_in_training_only():
    head, x = Mlp(4, hidden=64, dropout=0.5), torch.ones(1, 4)
    assert not torch.equal(head.train()(x), head(x))
    assert torch.equal(head.eval()(x), head(x))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(0, 1))
def test_two_logits_and_their_difference_are_the_same_classifier(seed, label):
    torch.manual_seed(seed)
    head, x = Discrepancy(6, hidden=8, dropout=0.0), 3 * torch.randn(1, 6)
    probability = head.two_logits(x).softmax(1)[0, 1]
    assert torch.allclose(head(x).sigmoid()[0], probability, atol=1e-6)
    on_one = F.binary_cross_entropy_with_logits(head(x), torch.tensor([float(label)]))
    assert torch.allclose(on_one, F.cross_entropy(head.two_logits(x), torch.tensor([label])), atol=1e-5)


def test_nearest_equals_a_loop_over_the_banks():
    torch.manual_seed(0)
    bank, labels, probe = torch.randn(9, 4), torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 1]), torch.randn(5, 4)
    head = Nearest(4, 1)
    head.store(bank, labels)
    for row, logit in zip(probe, head(probe).tolist(), strict=True):
        cosine = [float(row @ b / (row.norm() * b.norm())) for b in bank]
        fake, real = (max(c for c, y in zip(cosine, labels, strict=True) if y == want) for want in (1, 0))
        assert math.isclose(logit, fake - real, abs_tol=1e-5)


def test_nearest_is_the_cosine_distance_of_unifd_by_a_double_loop():
    torch.manual_seed(1)
    bank, labels, probe = torch.randn(8, 3), torch.tensor([0, 1] * 4), torch.randn(4, 3)
    head = Nearest(3, 1)
    head.store(bank, labels)
    for row, logit in zip(probe, head(probe).tolist(), strict=True):
        least = {0: 2.0, 1: 2.0}
        for entry, label in zip(bank, labels.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(row.tolist(), entry.tolist(), strict=True))
            sizes = math.sqrt(sum(a * a for a in row.tolist()) * sum(b * b for b in entry.tolist()))
            least[label] = min(least[label], 1 - dot / sizes)
        assert math.isclose(logit, least[0] - least[1], abs_tol=1e-5)
        assert (logit > 0) == (least[1] < least[0])  # fake where the nearest fake is nearer


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from([1, 3, 5, 9]))
def test_the_sign_of_k_nearest_is_the_majoritys_vote(seed, k):
    generator = torch.Generator().manual_seed(seed)
    bank, probe = torch.randn(20, 3, generator=generator), torch.randn(6, 3, generator=generator)
    labels = torch.cat([torch.zeros(9), torch.ones(11)]).long()
    head = Nearest(3, k)
    head.store(bank, labels)
    for row, logit in zip(probe, head(probe).tolist(), strict=True):
        cosine = [float(F.cosine_similarity(row, b, dim=0)) for b in bank]
        nearest = sorted(range(20), key=lambda i: -cosine[i])[:k]
        assert (logit > 0) == (sum(int(labels[i]) for i in nearest) > k / 2)


def test_an_even_vote_is_refused():
    with pytest.raises(UserError, match="odd"):
        Nearest(3, 4)


def test_nearest_needs_both_classes_and_banks():
    with pytest.raises(ValueError, match="both"):
        Nearest(2, 1).store(torch.ones(2, 2), torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="2 or more"):
        Nearest(2, 3).store(torch.ones(3, 2), torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match="store"):
        Nearest(2, 1)(torch.ones(1, 2))


def test_nearest_banks_survive_a_file(tmp_path):
    head, probe = Nearest(3, 1), torch.randn(4, 3)
    head.store(torch.randn(7, 3), torch.tensor([0, 0, 1, 0, 1, 0, 0]))
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    again = Nearest(3, 1)
    load_strictly(again, load_file(tmp_path / "head.safetensors"), "it")
    assert torch.equal(again(probe), head(probe))


def test_a_frozen_backbone_neither_learns_nor_moves_its_statistics():
    backbone = load_backbone("demo-xception", "none", 0)
    detector = Detector(backbone, Linear(backbone.dim), frozen=True).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    x = backbone.preprocess(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    detector(x).sum().backward()
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    assert all(p.grad is None for p in backbone.parameters())
    assert all(p.grad is not None for p in detector.head.parameters())


def test_a_detectors_score_is_the_sigmoid_of_its_logit():
    backbone = load_backbone("demo-clip-vit", "none", 0)
    detector = Detector(backbone, Linear(backbone.dim)).eval()
    x = backbone.preprocess(torch.randint(0, 256, (2, 3, 72, 72), dtype=torch.uint8))
    assert torch.equal(detector.scores(x), torch.sigmoid(detector(x)))
    assert torch.equal(detector(x), detector.head(backbone(x)))
