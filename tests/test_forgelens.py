"""ForgeLens: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, listed, recipe_settings, with_filled_weights
from small_clips import (
    LAYERS,
    attended,
    attention,
    block_of,
    check_crops,
    check_published_names,
    check_stages,
    check_what_moved,
    embedded,
    empty_tower,
    norm,
    perceived,
    slow_image,
    small_fields,
    tiny_clip,
)
from small_runs import plan_of, train_and_val

from tellsign.detectors.forgelens import ForgeLens, ForgeLensMethod
from tellsign.errors import UserError
from tellsign.networks.backbones.loading import load_backbone

CPU = torch.device("cpu")
VIEW = {"crop": 224, "smaller": "tile", "canvas": None}


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("forgelens"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case = Case(path, close=1e-4)
    sizes = [case.config["config"][name] for name in ("WSGM_count", "WSGM_reduction_factor", "FAFormer_layers",
                                                      "FAFormer_head", "FAFormer_reduction_factor")]  # fmt: skip
    network = with_filled_weights(ForgeLens(empty_tower(), *sizes))
    x = check_crops(case, ForgeLensMethod(network, {}, VIEW, CPU))
    added: dict[int, list[torch.Tensor]] = {}
    fused: list[torch.Tensor] = []
    guides = network.backbone.backbone.get_submodule("visual.transformer.WSGM_modules")
    for number, guide in enumerate(guides.children()):
        found = added.setdefault(number, [])
        guide.register_forward_hook(lambda _module, _inputs, output, found=found: found.append(output[:, 0]))
    block = network.transformer.get_submodule("resblocks.0")
    block.register_forward_hook(lambda _module, _inputs, output: fused.append(output))
    tokens = network.backbone.tokens(x)
    features = network.fused(tokens)
    for number in (0, len(added) - 1):
        case.compare(f"wsgm_{number}", torch.stack(added[number], dim=1))
    case.compare("cls_tokens", tokens[:, [0, 11, 23]])
    case.compare("logits_stage1", network.first(tokens)[:, None])
    case.compare("faformer_0", fused[0][:, [0, 1, 24]])
    case.compare("features", features)
    case.compare("logits", network.fc(features))
    case.check_all_compared()


def test_a_published_file_loads_by_its_own_names_and_no_other():
    network = ForgeLens(empty_tower(), 12, 4, 2, 2, 1)
    check_published_names(network, ForgeLensMethod, listed("forgelens", fill=False), "fc.1.bias")


@torch.no_grad()
def test_forgelens_is_that_of_loops(tmp_path):
    name, _ = tiny_clip(tmp_path)
    torch.manual_seed(0)
    network = ForgeLens(load_backbone(name, str(tmp_path / "tiny.safetensors"), 0), 4, 2, 1, 2, 3).double().eval()
    for key, value in network.named_parameters():
        if "WSGM" in key:
            value.copy_(torch.randn_like(value) / 3)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    begin = "backbone.backbone.visual."
    tower = {key.removeprefix(begin): value for key, value in state.items() if key.startswith(begin)}

    def layer(x: np.ndarray, name: str, tensors: dict[str, np.ndarray] = state) -> np.ndarray:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    x, tokens = embedded(tower, slow_image()), []
    for number, guide in zip(range(LAYERS), (0, 0, 1, 2, 2, 3), strict=True):
        block = block_of(tower, number)
        x = attended(x, block)
        names = [f"transformer.WSGM_modules.{guide}.{part}" for part in ("down", "middle", "up")]
        hidden = np.maximum(layer(np.maximum(layer(x, names[0], tower), 0), names[1], tower), 0)
        x = perceived(x + layer(hidden, names[2], tower), block)
        tokens.append(norm(x[0], tower["ln_post.weight"], tower["ln_post.bias"]) @ tower["proj"])
    first = float(layer(tokens[-1], "backbone.fc.1")[0])
    x, begin = np.stack([state["cls_token"], *tokens]), "transformer.resblocks.0."
    read = norm(x, state[f"{begin}ln_1.weight"], state[f"{begin}ln_1.bias"])
    rows = read @ state[f"{begin}attn.in_proj_weight"].T + state[f"{begin}attn.in_proj_bias"]
    x = x + layer(attention(*np.split(rows, 3, axis=1), 2), f"{begin}attn.out_proj")
    read = norm(x, state[f"{begin}ln_2.weight"], state[f"{begin}ln_2.bias"])
    x = x + layer(np.maximum(layer(read, f"{begin}mlp.0"), 0), f"{begin}mlp.3")
    second = float(layer(norm(x[0], state["ln_post.weight"], state["ln_post.bias"]), "fc.1")[0])
    image = torch.from_numpy(slow_image())[None]
    assert float(network.first(network.backbone.tokens(image))) == pytest.approx(first, abs=1e-9)
    assert float(network(image)) == pytest.approx(second, abs=1e-9)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


def test_it_is_planned_trained_in_two_phases_and_scored(data, tmp_path):
    more = {"modules": 3, "layers": 1, "epochs": 3, "second_epochs": 2, "second_batch_size": 4}
    settings, log = check_stages(data, tmp_path, small_fields(tmp_path, "forgelens") | more)
    assert [row["phase"] for row in log] == ["1", "1", "1", "2", "2"]
    rates = [5e-5, 5e-5, 3.5e-5, 2e-6, 2e-6]
    assert all(math.isclose(float(row["lr"]), rate) for row, rate in zip(log, rates, strict=True))
    start = ForgeLensMethod.begin(settings, None, None, CPU).model.state_dict()
    check_what_moved(tmp_path, start, r"WSGM|fc\.1\.|^cls_token|^ln_post|^transformer")


def test_the_first_phase_leaves_the_transformer_and_the_second_the_modules(data, tmp_path):
    fields = small_fields(tmp_path, "forgelens") | {"modules": 3, "layers": 1}
    method = ForgeLensMethod.begin(recipe_settings(**fields), None, None, CPU)
    from tellsign.detectors.protocol import Sample

    sample = Sample(["train0"], torch.tensor([0]), {"crops": method.readers["crops"](data / "train")})
    phases = method.phases(sample, None, torch.Generator())
    trained = []
    for _ in phases:
        trained.append({name for name, one in method.model.named_parameters() if one.requires_grad})
    assert len(trained) == 2 and not trained[0] & trained[1]
    assert all("WSGM" in name or name.startswith("backbone.fc") for name in trained[0])
    assert not any(name.startswith("backbone.") for name in trained[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"modules": 0}, "modules: 0 must be above 0"), ({"second_epochs": 0}, "second_epochs: 0 must be above 0")],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": small_fields(tmp_path, "forgelens") | change}).everything()


def test_the_demos_tower_is_refused():
    demo = {"backbone": {"name": "demo-clip-vit", "weights": "shipped"}, "crop": 72, "crop_test": 72}
    with pytest.raises(UserError, match="works inside a CLIP of open_clip"):
        ForgeLensMethod.begin(recipe_settings("forgelens", **demo), None, None, CPU)
