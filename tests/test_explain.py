import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tellsign.errors import UserError
from tellsign.evaluation import explain


class MeanBackbone(nn.Module):
    """The map is the input, the features are its means: Grad-CAM has a closed form."""

    def with_map(self, x):
        return x.mean(dim=(2, 3)), x


class SecondMomentBackbone(nn.Module):
    """Features are the means of the squared map, so that the gradient differs from place to place."""

    def with_map(self, x):
        maps = 2 * x
        return maps.square().mean(dim=(2, 3)), maps


def head(weights):
    return lambda features: features @ weights


@pytest.mark.parametrize(("target", "sign"), [("fake", 1), ("real", -1)])
def test_cam_of_a_linear_model_is_the_weighted_sum_of_its_maps(target, sign):
    x, w = torch.randn(3, 4, 5, 6), torch.randn(4)
    cam, score = explain.class_activation(MeanBackbone(), head(w), x, torch.zeros(3).long(), target)
    expected = sign * torch.einsum("k,bkhw->bhw", w, x) / 30  # the gradient of a mean over 5 x 6 places is 1/30
    torch.testing.assert_close(cam, expected.clamp(min=0))
    torch.testing.assert_close(score, torch.sigmoid(x.mean(dim=(2, 3)) @ w))


def test_cam_against_a_loop_with_the_gradient_written_out():
    x, w = torch.rand(2, 3, 4, 4), torch.tensor([1.0, -2.0, 0.5])
    cam, _ = explain.class_activation(SecondMomentBackbone(), head(w), x, torch.ones(2).long(), "label")
    maps = 2 * x
    for b in range(2):
        expected = torch.zeros(4, 4)
        for k in range(3):
            alpha = (w[k] * 2 * maps[b, k] / 16).mean()  # d/dA of w/16 sum A^2
            expected += alpha * maps[b, k]
        torch.testing.assert_close(cam[b], expected.relu())


def test_label_target_takes_each_images_own_class():
    x, w = torch.randn(4, 2, 3, 3), torch.randn(2)
    labels = torch.tensor([0, 1, 1, 0])
    by = {t: explain.class_activation(MeanBackbone(), head(w), x, labels, t)[0] for t in explain.TARGETS}
    torch.testing.assert_close(by["label"], torch.where(labels[:, None, None] == 1, by["fake"], by["real"]))
    with pytest.raises(UserError, match=r"unknown CAM target 'reel'. Did you mean 'real'"):
        explain.class_activation(MeanBackbone(), head(w), x, labels, "reel")


def test_cam_works_with_a_frozen_backbone_and_leaves_no_gradient():
    layer = nn.Linear(2, 1).requires_grad_(False)
    with torch.no_grad():
        cam, _ = explain.class_activation(MeanBackbone(), layer, torch.rand(1, 2, 3, 3), torch.ones(1).long(), "fake")
    assert not cam.requires_grad and layer.weight.grad is None


def test_shares_are_of_the_row_or_of_the_image():
    maps = np.array([[[1.0, 2.0]], [[0.0, 4.0]], [[0.0, 0.0]]])
    assert explain.as_share(maps, "row").tolist() == [[[0.25, 0.5]], [[0.0, 1.0]], [[0.0, 0.0]]]
    assert explain.as_share(maps, "image").tolist() == [[[0.5, 1.0]], [[0.0, 1.0]], [[0.0, 0.0]]]


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 9), st.integers(0, 1000))
def test_periodic_features_show_bands_at_their_period(period, seed):
    phase = torch.randn(period, 16, generator=torch.Generator().manual_seed(seed))
    similarity = explain.cosine_similarity(phase[torch.arange(4 * period) % period])
    bands = explain.offset_means(similarity.numpy())
    np.testing.assert_allclose(bands[::period], 1, rtol=1e-5)  # equal phases
    assert bands[np.arange(len(bands)) % period != 0].max() < 0.999


def test_similarity_and_its_diagonals_against_loops():
    features = torch.randn(5, 3)
    similarity = explain.cosine_similarity(features).numpy()
    for i in range(5):
        for j in range(5):
            a, b = features[i], features[j]
            assert similarity[i, j] == pytest.approx(float(a @ b / (a.norm() * b.norm())), abs=1e-6)
    by_hand = [np.mean([similarity[i, i + k] for i in range(5 - k)]) for k in range(5)]
    np.testing.assert_allclose(explain.offset_means(similarity), by_hand, rtol=1e-6)


def test_tsne_separates_what_is_apart_and_repeats_itself():
    draw = np.random.default_rng(0)
    features = np.concatenate([draw.normal(0, 1, (20, 8)), draw.normal(50, 1, (20, 8))])
    points = explain.tsne(features, seed=1)
    within = np.linalg.norm(points[:20] - points[:20].mean(0), axis=1).max()
    between = np.linalg.norm(points[:20].mean(0) - points[20:].mean(0))
    assert between > 2 * within
    np.testing.assert_array_equal(points, explain.tsne(features, seed=1))
    with pytest.raises(ValueError, match="at least four"):
        explain.tsne(features[:3], seed=0)
