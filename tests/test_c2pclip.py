"""C2P-CLIP: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of, listed, recipe_settings
from small_clips import (
    check_crops,
    check_published_names,
    check_stages,
    check_what_moved,
    embedding,
    empty_tower,
    outputs_of,
    slow_image,
    small_fields,
    tiny_clip,
)
from small_runs import plan_of, train_and_val

from tellsign.detectors.c2pclip import C2pClip, C2pClipMethod, prompt_loss
from tellsign.detectors.recipes.c2pclip import SHORTER
from tellsign.errors import UserError
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.state import load_strictly

CPU = torch.device("cpu")
VIEW = {"crop": 224, "smaller": "tile", "canvas": None}


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("c2pclip"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case, network = Case(path), C2pClip(empty_tower(), 0, 6.0, 0.8).eval()
    load_strictly(network, C2pClipMethod.published(listed("c2pclip")), "the list")
    x = check_crops(case, C2pClipMethod(network, {}, VIEW, CPU), SHORTER)
    blocks = {f"cls_block_{n}": network.visual.get_submodule(f"transformer.resblocks.{n}") for n in (0, 11, 23)}
    with outputs_of(**blocks, features=network.visual) as found:
        case.compare("logits", network(x)[:, None])
    case.compare("features", found.pop("features"))
    for name, tokens in found.items():
        case.compare(name, tokens[:, 0])
    case.check_all_compared()


def test_a_published_file_loads_by_its_own_names_and_no_other():
    network = C2pClip(empty_tower(), 0, 6.0, 0.8)
    check_published_names(network, C2pClipMethod, listed("c2pclip", fill=False), "model.fc.bias")


def test_a_training_may_begin_with_a_published_file(tmp_path):
    state = tiny_clip(tmp_path)[1]
    published = {"model.fc.weight": torch.ones(1, 12), "model.fc.bias": torch.zeros(1)}
    names = {
        "class_embedding": "embeddings.class_embedding",
        "conv1": "embeddings.patch_embedding",
        "positional_embedding": "embeddings.position_embedding.weight",
        "ln_pre": "pre_layrnorm",
        "ln_post": "post_layernorm",
        "transformer.resblocks": "encoder.layers",
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out": "self_attn.out",
        "c_fc": "fc1",
        "c_proj": "fc2",
    }
    for name, value in state.items():
        if name == "visual.proj":
            published["model.visual_projection.weight"] = value.T.contiguous()
        elif name.startswith("visual."):
            name = name.removeprefix("visual.")
            for ours, theirs in names.items():
                name = name.replace(ours, theirs)
            stacked = "in_proj_" in name
            for part, rows in zip("qkv" if stacked else "-", value.chunk(3) if stacked else [value], strict=True):
                own = name.replace("attn.in_proj_", f"self_attn.{part}_proj.")
                published[f"model.vision_model.{own}"] = rows.clone()
    torch.save(published, tmp_path / "published.pth")
    fields = small_fields(tmp_path, "c2pclip")
    settings = recipe_settings(**fields, weights=str(tmp_path / "published.pth"))
    network = C2pClipMethod.begin(settings, None, None, CPU).model.eval()
    fresh = C2pClipMethod.begin(recipe_settings(**fields), None, None, CPU).model.eval()
    x = torch.from_numpy(slow_image())[None].float()
    with torch.no_grad():
        assert torch.allclose(network.features(x), fresh.features(x), atol=1e-6)
        assert float(network(x)) == pytest.approx(float(network.features(x).sum()), abs=1e-6)


@torch.no_grad()
def test_c2pclip_is_that_of_loops(tmp_path):
    name, _ = tiny_clip(tmp_path)
    network = C2pClip(load_backbone(name, str(tmp_path / "tiny.safetensors"), 0), 3, 6.0, 0.8).double().eval()
    torch.manual_seed(0)
    for key, value in network.named_parameters():
        if ".lora_" in key:
            value.copy_(torch.randn_like(value) / 4)
    whole = {key.removeprefix("visual."): value.numpy() for key, value in network.state_dict().items()}
    state = {key: value for key, value in whole.items() if not re.search("[qkv]_proj", key)}
    for number in range(6):
        begin = f"transformer.resblocks.{number}.attn."
        changed = [
            whole[f"{begin}{part}_proj.weight"]
            + 6.0 / 3 * whole[f"{begin}{part}_proj.lora_B"] @ whole[f"{begin}{part}_proj.lora_A"]
            for part in "qkv"
        ]
        state[f"{begin}in_proj_weight"] = np.concatenate(changed)
        state[f"{begin}in_proj_bias"] = np.concatenate([whole[f"{begin}{part}_proj.bias"] for part in "qkv"])
    image = slow_image()
    features = embedding(state, image) @ state["proj"]
    expected = features / math.sqrt(sum(features**2)) @ whole["fc.weight"][0] + whole["fc.bias"][0]
    assert float(network(torch.from_numpy(image)[None])) == pytest.approx(expected, abs=1e-10)


def test_the_prompts_loss_is_that_of_loops():
    draws = np.random.default_rng(6)
    unit = [row / np.linalg.norm(row) for row in draws.normal(size=(6, 3))]
    prompts, features, labels = unit[:2], unit[2:], [0, 1, 1, 0]
    terms = []
    for feature, label in zip(features, labels, strict=True):
        cosines = [100 * feature @ prompt for prompt in prompts]
        terms.append(math.log(sum(math.exp(one - cosines[label]) for one in cosines)))
    found = prompt_loss(*(torch.tensor(np.array(one)) for one in (features, prompts, labels)))
    assert float(found) == pytest.approx(sum(terms) / 4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


def test_it_is_planned_trained_and_scored(data, tmp_path):
    settings, log = check_stages(data, tmp_path, small_fields(tmp_path, "c2pclip"))
    assert float(log[0]["lr"]) == 4e-4
    start = C2pClipMethod.begin(settings, None, None, CPU).model.state_dict()
    check_what_moved(tmp_path, start, r"^fc\.|\.lora_")


def test_it_runs_on_the_demos_towers(data, tmp_path):
    demo = {"backbone": {"name": "demo-clip-vit", "weights": "shipped"}, "crop": 72, "crop_test": 72}
    check_stages(data, tmp_path, small_fields(tmp_path, "c2pclip") | demo | {"prompts": ["red", "circle"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 0}, "rank: 0 must be above 0"),
        ({"prompts": ["Camera"]}, "expected 2 values"),
        ({"epochs": 0}, "0 epochs train nothing; give weights"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": small_fields(tmp_path, "c2pclip") | change}).everything()
