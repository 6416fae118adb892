"""What an encoder sees: ``backbone.front``."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from tellsign.errors import UserError
from tellsign.networks.backbones.fronts import FRONTS, HighPass, mean_of_nine
from tellsign.networks.backbones.loading import load_backbone
from tellsign.schema.networks import Encoder

PIXELS = torch.randint(0, 256, (2, 3, 72, 72), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_front_stands_for_the_networks_own_normalisation_and_its_weights_stay():
    own = load_backbone("demo-xception", "none", 0)
    assert torch.allclose(own.preprocess(PIXELS), PIXELS / 127.5 - 1, atol=1e-6)
    crop = PIXELS.double()
    mean, deviation = crop.mean((1, 2, 3), keepdim=True), crop.std((1, 2, 3), keepdim=True, correction=0)
    expected = {"standardised": (crop - mean) / (deviation + 0.02 * 127.5), "high_pass": HighPass()(PIXELS).double()}
    named = get_args(get_args(Encoder.model_fields["front"].annotation)[0])
    assert set(named) == set(FRONTS) == set(expected)
    for front, seen in expected.items():
        backbone = load_backbone("demo-xception", "none", 0, front)
        torch.testing.assert_close(backbone.preprocess(PIXELS).double(), seen, rtol=0, atol=1e-5)
        states = zip(own.state_dict().values(), backbone.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in states)
    with pytest.raises(UserError, match="unknown front 'low_pass'"):
        load_backbone("demo-xception", "none", 0, "low_pass")


def test_the_mean_of_nine_pixels_is_what_pooling_gives():
    x = PIXELS.double() / 127.5 - 1
    pooled = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
    torch.testing.assert_close(mean_of_nine(x), pooled, rtol=0, atol=1e-14)
