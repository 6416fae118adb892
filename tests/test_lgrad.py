"""LGrad: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, listed, recipe_settings, stored_part, with_filled_weights
from small_runs import check_run, plan_of, train_and_val

from tellsign.data.images import resized
from tellsign.detectors.lgrad import LGrad, LGradMethod, as_pictures, gradients
from tellsign.detectors.on_crops import IMAGENET_MEAN, IMAGENET_STD
from tellsign.detectors.recipes.lgrad import LGradRecipe
from tellsign.errors import UserError
from tellsign.networks.backbones.backbone import Standardise
from tellsign.networks.resnet50 import resnet50
from tellsign.networks.stylegan_discriminator import Discriminator, Layer, spread
from tellsign.schema.loading import plain

CPU = torch.device("cpu")
SMALL = {"weights": "none", "discriminator": "none", "side": 16, "crop": 16, "crop_test": 16, "batch_size": 6,
         "resize": {"mode": "squash", "size": 16}, "resize_test": {"mode": "squash", "size": 16}}  # fmt: skip

KINKS = 1e-3
"""The last bit decides which side of a leaky ReLU's kink a value is on, and with it the slope there."""


def filled_network() -> LGrad:
    """Both networks' weights by their own names; the discriminator scales its weights itself, so they are N(0, 1)."""
    network = LGrad()
    with_filled_weights(network.classifier)
    with_filled_weights(network.discriminator, keep=r"^lod$|blur\.kernel$")
    for value in network.discriminator.parameters():
        if value.ndim > 1:
            value *= math.prod(value.shape[1:]) ** 0.5
    return network.eval()


@pytest.mark.parametrize("path", cases_of("lgrad"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case, network, inputs = Case(path), filled_network(), []
    resize = plain(LGradRecipe.model_fields["resize"].default)
    for number in case.pictures:
        pixels = torch.from_numpy(resized(case.stored[f"picture_{number}"].numpy(), **resize).copy())
        x = Standardise([0.5] * 3, [0.5] * 3)(pixels.permute(2, 0, 1)[None])
        inputs.append(x)
        case.compare(f"disc_input_{number}", x[0], exact=True)
        case.compare(f"disc_output_{number}", network.discriminator(x))
        found = gradients(network.discriminator, x)
        case.compare(f"gradient_{number}", found[0], noise=KINKS)
        picture = as_pictures(found)
        key, channels_last = f"gradient_image_{number}", picture[0].permute(1, 2, 0)
        case.compare(key, channels_last.float(), noise=1e-3)
        part = stored_part(channels_last, case.about[key].get("stored", "[..., ::1, ::1]"))
        assert (part.int() - case.stored[key].int()).abs().max() <= 1  # a value near a half
        with torch.no_grad():  # a grey level moves it
            logit = network(Standardise(IMAGENET_MEAN, IMAGENET_STD)(picture))
        case.compare(f"logit_{number}", logit, noise=1e-4)
    x = torch.cat(inputs).requires_grad_()
    outputs = network.discriminator(x, group=len(x))
    case.compare("disc_output_batch", outputs)
    case.compare("gradient_batch", torch.autograd.grad(outputs.sum(), x)[0], noise=KINKS)
    case.check_all_compared()


def settings_of(weights: str = "none", discriminator: str = "none", **recipe: object) -> dict:
    given = recipe_settings("lgrad", weights, **recipe)
    return given | {"discriminator": {"name": "stylegan-discriminator", "weights": discriminator, "digest": "none"}}


def test_both_published_files_load_by_their_own_names(tmp_path):
    files = {"classifier": listed("lgrad"), "discriminator": listed("lgrad", "tensors_discriminator.tsv")}
    for name, state in files.items():
        torch.save(state, tmp_path / f"{name}.pth")
    paths = str(tmp_path / "classifier.pth"), str(tmp_path / "discriminator.pth")
    model = LGradMethod.begin(settings_of(*paths, epochs=0), None, None, CPU).model
    for name, state in files.items():
        loaded = model.get_submodule(name).state_dict()
        assert loaded.keys() == state.keys() and all(torch.equal(loaded[key], state[key]) for key in state)
    del files["discriminator"]["layer14.bias"]
    torch.save(files["discriminator"], paths[1])
    with pytest.raises(UserError, match=r"lgrad's discriminator does not fit: 1 tensors differ"):
        LGradMethod.begin(settings_of(*paths, epochs=0), None, None, CPU)


def test_imagenets_resnet_starts_all_but_the_last_layer(tmp_path):
    stored = resnet50().state_dict()
    stored |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    torch.save(stored, tmp_path / "resnet50.pth")
    given = settings_of(str(tmp_path / "resnet50.pth"), side=16, crop=16, crop_test=16)
    loaded = LGradMethod.begin(given, None, None, CPU).model.classifier.state_dict()
    assert torch.equal(loaded["layer4.2.conv3.weight"], stored["layer4.2.conv3.weight"])
    assert loaded["fc.weight"].shape == (1, 2048) and float(loaded["fc.weight"].std()) == pytest.approx(0.02, rel=0.1)
    with pytest.raises(UserError, match="holds ImageNet's classes"):
        LGradMethod.begin(given | {"epochs": 0}, None, None, CPU)


# --------------------------------------------------------------------------------------------- against slow code


def slow_convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A convolution of the same size, shift by shift."""
    margin, (h, w) = weight.shape[-1] // 2, x.shape[-2:]
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    shifts = [(i, j) for i in range(weight.shape[-1]) for j in range(weight.shape[-1])]
    terms = [np.einsum("oc,bchw->bohw", weight[:, :, i, j], padded[:, :, i : i + h, j : j + w]) for i, j in shifts]
    return np.sum(terms, axis=0) + bias[:, None, None]


def slow_discriminator(state: dict[str, np.ndarray], x: np.ndarray, halvings: int) -> np.ndarray:
    """The outputs of images that are each a group by itself."""

    def layer(name: str, y: np.ndarray, gain: float = 2**0.5) -> np.ndarray:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        weight = weight * gain / math.prod(weight.shape[1:]) ** 0.5
        return slow_convolution(y, weight, bias) if y.ndim == 4 else y @ weight.T + bias

    def bent(y: np.ndarray) -> np.ndarray:
        return np.where(y > 0, y, 0.2 * y)

    blur = np.outer([1, 2, 1], [1, 2, 1]) / 16
    x = bent(layer("input0", x))
    for number in range(halvings):
        x = bent(layer(f"layer{2 * number}", x))
        x = np.stack([slow_convolution(x[:, [c]], blur[None, None], np.zeros(1))[:, 0] for c in range(x.shape[1])], 1)
        x = layer(f"layer{2 * number + 1}", x)
        x = bent((x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4)
    x = np.concatenate([x, np.full_like(x[:, :1], 1e-4)], axis=1)
    x = bent(layer(f"layer{2 * halvings}", x)).reshape(len(x), -1)
    return layer(f"layer{2 * halvings + 2}", bent(layer(f"layer{2 * halvings + 1}", x)), 1.0)[:, 0]


def test_the_discriminator_and_its_gradient_are_those_of_slow_code():
    torch.manual_seed(0)
    network = Discriminator(8).double()
    for name, value in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(value)
    state = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    x = np.random.default_rng(1).uniform(-1, 1, (2, 3, 8, 8))
    expected = slow_discriminator(state, x, 1)
    assert np.allclose(network(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-6)
    found = gradients(network.requires_grad_(False), torch.from_numpy(x)).numpy()
    for place in ((0, 0, 2, 3), (1, 2, 7, 0)):
        step = np.zeros_like(x)
        step[place] = 1e-6
        difference = slow_discriminator(state, x + step, 1) - slow_discriminator(state, x - step, 1)
        assert difference[place[0]] / 2e-6 == pytest.approx(found[place], rel=1e-3, abs=1e-9)


def test_a_fused_layer_is_a_convolution_and_a_mean():
    torch.manual_seed(1)
    layer, x = Layer(2, 3, 3, 3, blur=True).double(), torch.randn(1, 3, 128, 128, dtype=torch.float64)
    expected = torch.nn.functional.avg_pool2d(layer(layer.blur(x)), 2)
    assert torch.allclose(layer.halved(x), expected)


def test_images_of_a_group_lie_apart_and_their_spread_is_that_of_a_loop():
    x = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(2))
    found = spread(x, 2)
    for first, second in ((0, 2), (1, 3)):
        half = (x[first] - x[second]) / 2
        expected = float((half**2 + 1e-8).sqrt().mean())
        assert found[[first, second]].flatten().tolist() == pytest.approx([expected] * 8, rel=1e-5)
    assert spread(x, 1).flatten().tolist() == pytest.approx([1e-4] * 16)


def test_pictures_share_one_scale_over_channels_and_round_halves_to_even():
    gradient = torch.tensor([-1.0, 0.0, 1.0, 3.0]).view(1, 1, 2, 2).repeat(1, 3, 1, 1)
    gradient[0, 2] = 254.0
    assert as_pictures(gradient)[0, 0].flatten().tolist() == [0, 1, 2, 4]
    halves = torch.tensor([0.0, 0.5, 1.5, 2.5, 255.0, 0.0]).view(1, 3, 1, 2)
    assert as_pictures(halves).flatten().tolist() == [0, 0, 2, 2, 255, 0]
    assert not as_pictures(torch.full((1, 3, 2, 2), 7.0)).any()


# ------------------------------------------------------------------------------------------ through the stages


def test_it_is_planned_trained_and_scored(tmp_path_factory, tmp_path):
    log = check_run(train_and_val(tmp_path_factory), tmp_path, SMALL | {"method": "lgrad", "epochs": 2})
    assert [float(row["lr"]) for row in log] == [5e-4, 5e-4]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"side": 200}, "powers of two"),
        ({"crop": 300}, "crop is 300 and crop_test 256"),
        ({"crop_test": 224}, "scored whole"),
        ({"discriminator": "shipped", "weights": "none"}, "stylegan-discriminator has not"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": {"method": "lgrad"} | run}).everything()
