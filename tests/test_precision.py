import pytest
import torch
from torch import nn

from tellsign.detectors.recipes.freqnet import FreqNetRecipe
from tellsign.detectors.recipes.image import ImageRecipe
from tellsign.detectors.recipes.ladeda import LadedaRecipe
from tellsign.detectors.registry import recipe_class
from tellsign.errors import UserError
from tellsign.schema.loading import build, plain
from tellsign.training.precision import arithmetic

EXPECTED = {("auto", "cuda"): True, ("auto", "cpu"): False, ("bf16", "cpu"): True, ("fp32", "cuda"): False}


@pytest.mark.parametrize(("precision", "device"), EXPECTED)
def test_auto_is_bf16_on_cuda_and_fp32_on_a_cpu(precision, device, monkeypatch):
    made = []
    monkeypatch.setattr(torch, "autocast", lambda *given, enabled: made.append((*given, enabled)))
    arithmetic(precision, torch.device(device))
    assert made == [(device, torch.bfloat16, EXPECTED[precision, device])]


def test_bf16_computes_products_in_bf16_and_keeps_weights_and_gradients_in_fp32():
    layer = nn.Linear(2, 1, bias=False)
    nn.init.constant_(layer.weight, 1 + 2**-10)  # which bf16 rounds to 1
    for precision, expected in (("bf16", 2.0), ("auto", 2 + 2**-9), ("fp32", 2 + 2**-9)):
        with arithmetic(precision, torch.device("cpu")):
            out = layer(torch.ones(1, 2))
        assert float(out.detach()) == expected
        out.float().sum().backward()
        assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32


def test_recipes_default_to_auto_and_freqnet_takes_fp32_alone():
    assert build(ImageRecipe, {"backbone": {"name": "demo-xception"}}, "x").precision == "auto"
    assert build(LadedaRecipe, {}, "x").precision == "auto" and build(FreqNetRecipe, {}, "x").precision == "fp32"
    with pytest.raises(UserError, match="write precision: fp32"):
        build(FreqNetRecipe, {"precision": "bf16"}, "x")


def test_what_looks_at_spectra_defaults_to_fp32():
    for method in ("spec", "frank", "fredect", "lgrad", "f3net", "freqnet", "gramnet"):
        assert plain(build(recipe_class(method, "x"), {}, "x"))["precision"] == "fp32"
