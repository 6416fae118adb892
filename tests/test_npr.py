import pytest
import torch
from torch import nn

from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.heads.linear_layer import Linear
from tellsign.networks.npr import Residual, neighbour_residual


def slow_residual(x: torch.Tensor) -> torch.Tensor:
    """NPR cell by cell: x - up(down(x)), nearest neighbour."""
    out = torch.empty_like(x)
    for i in range(x.shape[-2]):
        for j in range(x.shape[-1]):
            out[..., i, j] = x[..., i, j] - x[..., 2 * (i // 2), 2 * (j // 2)]
    return out


def test_the_residual_is_that_of_a_loop_over_pixels():
    x = torch.randn(2, 3, 6, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(neighbour_residual(x), slow_residual(x), rtol=0, atol=0)
    torch.testing.assert_close(Residual()(x), slow_residual(x) * 2 / 3)


def test_the_residual_is_that_of_interpolation_by_half_and_two():
    x = torch.randn(1, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    down = nn.functional.interpolate(x, scale_factor=0.5, mode="nearest", recompute_scale_factor=True)
    up = nn.functional.interpolate(down, scale_factor=2, mode="nearest", recompute_scale_factor=True)
    assert torch.equal(neighbour_residual(x), x - up)


def test_nothing_is_left_of_an_image_enlarged_twofold():
    small = torch.randn(1, 3, 5, 4)
    large = small.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert not neighbour_residual(large).any()
    assert neighbour_residual(large.roll(1, -1)).any()  # cells that start elsewhere


def test_odd_sides_are_refused():
    with pytest.raises(ValueError, match="even"):
        neighbour_residual(torch.zeros(1, 3, 4, 5))


def test_the_network_has_the_published_parameters_and_shapes():
    backbone = load_backbone("npr", "none", 100).eval()
    head = Linear(backbone.dim)
    convolutions = 3 * 64 * 9
    for inputs, width, blocks in ((64, 64, 3), (256, 128, 4)):
        convolutions += inputs * width * 5 + width * width * 13 + (blocks - 1) * (8 + 9) * width * width
    norms = 2 * (64 + (256 + 3 * 384) + (512 + 4 * 768))
    count = sum(p.numel() for p in [*backbone.parameters(), *head.parameters()])
    assert count == convolutions + norms + 513 == 1_437_761  # 1.438 M
    x = backbone.preprocess(torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8))
    features, feature_map = backbone.with_map(x)
    assert features.shape == (2, 512) and feature_map.shape == (2, 512, 8, 6)
    assert torch.autograd.grad(features.sum(), feature_map)[0].abs().sum() > 0
    torch.testing.assert_close(features, feature_map.mean((2, 3)))
