from __future__ import annotations

import json
from typing import Any

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from tellsign.errors import UserError
from tellsign.networks.backbones import BACKBONES, CLIPS
from tellsign.networks.backbones.backbone import Backbone, Standardise
from tellsign.networks.backbones.loading import load_backbone, load_clip
from tellsign.networks.backbones.open_clip_towers import normalisation
from tellsign.networks.detector import Detector
from tellsign.networks.heads.linear_layer import Linear
from tellsign.networks.state import load_strictly, read_state
from tellsign.schema.loading import build
from tellsign.schema.networks import Network

DEMO = ("demo-clip-vit", "demo-clip-rn", "demo-xception")


def test_a_recipe_may_name_every_network_and_no_other():
    for name in [name for name in BACKBONES if not name.endswith(":")] + ["timm:resnet18.a1_in1k", "open_clip:RN50"]:
        assert build(Network, {"name": name}, "run x.backbone").name == name
    for name, words in (("resnet5", "Did you mean 'resnet50'"), ("tim:x", "timm:NAME"), ("timm:", "timm:NAME")):
        with pytest.raises(UserError, match=words) as caught:
            build(Network, {"name": name}, "run x.backbone")
        assert str(caught.value).startswith(f"unknown backbone at run x.backbone.name {name!r}")


def pixels(count: int = 2, side: int = 72) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_standardise_is_the_affine_map_of_its_statistics():
    front = Standardise((0.5, 0.4, 0.3), (0.25, 0.5, 1.0))
    x = front(torch.full((1, 3, 1, 1), 51, dtype=torch.uint8))
    assert torch.allclose(x.flatten(), torch.tensor([(0.2 - 0.5) / 0.25, (0.2 - 0.4) / 0.5, 0.2 - 0.3]))
    assert not front.state_dict()


@pytest.mark.parametrize("name", DEMO)
def test_demo_backbones_give_features_and_a_map_on_their_way(name):
    backbone = load_backbone(name, "none", 0).eval()
    x = backbone.preprocess(pixels())
    features, feature_map = backbone.with_map(x)
    assert features.shape == (2, backbone.dim)
    assert feature_map.shape[0] == 2 and feature_map.ndim == 4
    assert torch.equal(feature_map, backbone.feature_map(x))
    assert torch.allclose(features, backbone(x), atol=1e-6)
    gradient = torch.autograd.grad(features.sum(), feature_map)[0]
    assert (gradient.flatten(2).abs().amax((0, 1)) > 0).all()  # every place counts


def test_tokens_lie_on_the_map_row_by_row():
    backbone: Any = load_backbone("demo-clip-vit", "none", 0).eval()
    black, one = torch.zeros(1, 3, 72, 72, dtype=torch.uint8), torch.zeros(1, 3, 72, 72, dtype=torch.uint8)
    one[:, 0, 14:22, 50:58] = 255  # within the patch of row 1, column 4
    backbone.net.blocks = torch.nn.Sequential(backbone.net.blocks[3])
    backbone.map_layer = "blocks.0.norm_1"  # before any attention a token knows its own patch
    backbone.front = torch.nn.Identity()
    maps = [backbone.feature_map(F.pad(x.float(), (0, 0, 0, 0, 0, 3))) for x in (black, one)]
    assert (maps[1] - maps[0]).abs().sum((0, 1)).argmax() == 1 * 6 + 4


@pytest.mark.parametrize("name", DEMO)
def test_the_seed_alone_decides_random_weights(name):
    states = []
    for seed, disturbance in ((3, 1), (3, 2), (4, 1)):
        torch.manual_seed(disturbance)
        states.append(load_backbone(name, "none", seed).state_dict())
    first, same, other = states
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_wrong_size_is_refused_where_the_size_is_fixed():
    with pytest.raises(ValueError, match="72 × 72"):
        load_backbone("demo-clip-rn", "none", 0).preprocess(pixels(side=80))
    xception = load_backbone("demo-xception", "none", 0)
    assert xception(xception.preprocess(pixels(side=57))).shape == (2, 192)


def test_shipped_towers_are_those_of_the_shipped_clip():
    for name in ("demo-clip-vit", "demo-clip-rn"):
        clip, image = load_clip(name, "shipped", 0), load_backbone(name, "shipped", 1)
        pairs = zip(clip.image.state_dict().values(), image.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        random = load_backbone(name, "none", 1).state_dict()
        assert any(not torch.equal(random[key], value) for key, value in image.state_dict().items())


def test_own_files_of_backbone_detector_and_clip_load(tmp_path):
    clip = load_clip("demo-clip-rn", "none", 5)
    detector = Detector(clip.image, Linear(clip.image.dim))
    for module in (clip, clip.image, clip.image.net, detector):
        file = tmp_path / "weights.safetensors"
        save_file({name: value.contiguous() for name, value in module.state_dict().items()}, file)
        loaded = load_backbone("demo-clip-rn", str(file), 0).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in clip.image.state_dict().items())
    torch.save({"state_dict": {f"module.{k}": v for k, v in clip.state_dict().items()}}, tmp_path / "weights.pt")
    again = load_clip("demo-clip-rn", str(tmp_path / "weights.pt"), 0).state_dict()
    assert all(torch.equal(again[key], value) for key, value in clip.state_dict().items())


def test_every_tensor_that_does_not_fit_is_named(tmp_path):
    state = load_backbone("demo-clip-vit", "none", 0).state_dict()
    state["net.extra"], state["net.project.weight"] = torch.zeros(2), torch.zeros(7, 96)
    del state["net.position"], state["net.norm_in.bias"]
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(UserError) as error:
        load_backbone("demo-clip-vit", str(tmp_path / "weights.safetensors"), 0)
    for line in (
        "missing: net.position (1, 37, 96)",
        "missing: net.norm_in.bias (96,)",
        "unknown: net.extra (2,)",
        "misshapen: net.project.weight is (7, 96), not (96, 96)",
    ):
        assert line in str(error.value)


def test_only_batchnorm_counters_may_lack():
    norm = torch.nn.BatchNorm2d(2)
    state = norm.state_dict()
    del state["num_batches_tracked"]
    load_strictly(norm, state, "it")
    del state["running_var"]
    with pytest.raises(UserError, match="running_var"):
        load_strictly(norm, state, "it")


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("demo-clip-vti", "none", "Did you mean 'demo-clip-vit'"),
        ("demo-xception", "shipped", "no weights of 'demo-xception' ship"),
        ("clip-vit-l14", "nowhere.safetensors", "tellsign weights --all"),
    ],
)
def test_what_is_wrong_with_a_name_or_weights_is_said(name, weights, message):
    with pytest.raises(UserError, match=message):
        load_backbone(name, weights, 0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_files_that_are_no_weights_are_refused(tmp_path, suffix):
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(b"no weights at all")
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_state(file)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UserError, match="no dict of tensors"):
        read_state(tmp_path / "list.pt")


def test_every_clip_has_its_image_tower_among_the_backbones():
    assert set(CLIPS) <= set(BACKBONES)


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(1.702 * x)


def slow_block(x: torch.Tensor, state: dict[str, torch.Tensor], heads: int, allowed: torch.Tensor) -> torch.Tensor:
    """One CLIP block of one text, token by token and head by head, from Vaswani et al. 2017."""
    width = x.shape[1]
    normed = F.layer_norm(x, (width,), state["ln_1.weight"], state["ln_1.bias"])
    query, key, value = (normed @ state["attn.in_proj_weight"].T + state["attn.in_proj_bias"]).split(width, dim=1)
    read = torch.empty_like(x)
    for head in range(heads):
        own = slice(head * width // heads, (head + 1) * width // heads)
        for i in range(len(x)):
            weights = torch.stack([query[i, own] @ key[j, own] for j in range(len(x)) if allowed[i, j]])
            weights = (weights / (width / heads) ** 0.5).softmax(0)
            read[i, own] = sum(w * value[j, own] for j, w in enumerate(weights))
    x = x + read @ state["attn.out_proj.weight"].T + state["attn.out_proj.bias"]
    inner = F.layer_norm(x, (width,), state["ln_2.weight"], state["ln_2.bias"])
    inner = quick_gelu(inner @ state["mlp.c_fc.weight"].T + state["mlp.c_fc.bias"])
    return x + inner @ state["mlp.c_proj.weight"].T + state["mlp.c_proj.bias"]


def block_of(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@pytest.mark.slow
def test_open_clips_towers_are_those_of_the_papers_from_scratch(tmp_path):
    """Both towers against Radford et al. 2021 written out: patches, class token, blocks, quick GELU, projection."""
    state = tiny_models.clip(tmp_path)
    clip = load_clip("open-clip", str(tmp_path), 0).eval()
    x = clip.image.preprocess(pixels(1, 8))[0]
    w = block_of(state, "visual.")
    kernel = w["conv1.weight"].flatten(1)
    patches = [kernel @ x[:, r : r + 4, c : c + 4].flatten() for r in (0, 4) for c in (0, 4)]
    tokens = torch.stack([w["class_embedding"], *patches]) + w["positional_embedding"]
    tokens = F.layer_norm(tokens, (16,), w["ln_pre.weight"], w["ln_pre.bias"])
    for i in range(2):
        tokens = slow_block(tokens, block_of(w, f"transformer.resblocks.{i}."), 2, torch.ones(5, 5).bool())
    image = F.layer_norm(tokens[0], (16,), w["ln_post.weight"], w["ln_post.bias"]) @ w["proj"]
    with torch.inference_mode():
        assert torch.allclose(clip.image(x[None])[0], image, atol=1e-5)
        assert torch.equal(load_backbone("open-clip", str(tmp_path), 0).eval()(x[None]), clip.image(x[None]))

    start, end, numbers = 49406, 49407, [320, 2368]  # "a cat" in CLIP's byte pairs
    padded = torch.tensor([start, *numbers, end] + [0] * 5)
    tokens = state["token_embedding.weight"][padded] + state["positional_embedding"]
    for i in range(2):
        allowed = torch.ones(9, 9).tril().bool()
        tokens = slow_block(tokens, block_of(state, f"transformer.resblocks.{i}."), 2, allowed)
    text = F.layer_norm(tokens[3], (12,), state["ln_final.weight"], state["ln_final.bias"]) @ state["text_projection"]
    with torch.inference_mode():
        assert torch.allclose(clip.encode_text(["A cat", "two"])[0], text, atol=1e-5)


@pytest.mark.slow
def test_openais_clips_are_built_with_the_quick_gelu_in_fp32():
    import open_clip

    published = {name: dict(CLIPS[name].options) for name in CLIPS if "configuration" in CLIPS[name].options}
    assert len(published) == 4
    for name, options in published.items():
        configuration, dim = options["configuration"], options["dim"]
        assert options == BACKBONES[name].options
        settings: Any = open_clip.get_model_config(configuration)
        assert settings["quick_gelu"] and settings["embed_dim"] == dim, name
        assert settings["vision_cfg"]["image_size"] == 224
    clip = load_clip("clip-rn50", "none", 0)
    assert {p.dtype for p in clip.parameters()} == {torch.float32}


@pytest.mark.slow
def test_a_clip_of_another_library_or_none_at_all_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"open_clip_model\.safetensors"):
        load_clip("open-clip", str(tmp_path), 0)
    tiny_models.clip(tmp_path)
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(UserError, match="KeyError"):
        load_clip("open-clip", str(tmp_path), 0)
    foreign = tiny_models.CLIP | {"text_cfg": {"hf_model_name": "roberta-base"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": foreign}))
    with pytest.raises(UserError, match="hf_model_name"):
        load_clip("open-clip", str(tmp_path), 0)


@pytest.mark.slow
def test_clip_rn50_takes_pixels_and_texts_and_open_clips_files(tmp_path):
    clip: Any = load_clip("clip-rn50", "none", 0).eval()
    x = clip.image.preprocess(pixels(1, 224))
    with torch.inference_mode():
        assert clip.image(x).shape == (1, 1024) and clip.image.feature_map(x).shape == (1, 2048, 7, 7)
        assert clip.encode_text(["a photo", "a cat"]).shape == (2, 1024)
        text, length = clip.text, 4
        state = {
            k.removeprefix("transformer.resblocks.0."): v for k, v in text.state_dict().items() if "resblocks.0." in k
        }
        tokens = torch.randn(length, 512)
        causal = torch.ones(length, length).tril().bool()
        mask = torch.zeros(length, length).masked_fill(~causal, float("-inf"))
        block = text.transformer.resblocks[0](tokens[None], attn_mask=mask)[0]
        assert torch.allclose(block, slow_block(tokens, state, 8, causal), atol=1e-5)
    whole = {k.replace("image.net.", "visual.", 1).removeprefix("text."): v for k, v in clip.state_dict().items()}
    tower = {k.removeprefix("visual."): v for k, v in whole.items() if k.startswith("visual.")}
    save_file(whole, tmp_path / "whole.safetensors")
    save_file(tower, tmp_path / "tower.safetensors")
    both = load_clip("clip-rn50", str(tmp_path / "whole.safetensors"), 1)
    alone = [load_backbone("clip-rn50", str(tmp_path / f"{f}.safetensors"), 1) for f in ("whole", "tower")]
    probe = "net.layer4.2.conv3.weight"
    assert all(torch.equal(b.state_dict()[probe], clip.image.state_dict()[probe]) for b in [both.image, *alone])
    assert torch.equal(both.text.state_dict()["text_projection"], clip.text.state_dict()["text_projection"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dim", "side", "map_shape"),
    [
        ("clip-vit-b16", 512, 224, (768, 14, 14)),
        ("clip-rn101", 512, 224, (2048, 7, 7)),
        ("legacy-xception", 2048, 128, (2048, 4, 4)),
        ("resnet50", 2048, 128, (2048, 4, 4)),
        ("swin-t", 768, 224, (768, 7, 7)),
    ],
)
def test_full_size_backbones_have_their_dim_and_map(name, dim, side, map_shape):
    backbone: Backbone = load_backbone(name, "none", 0).eval()
    x = backbone.preprocess(pixels(1, side))
    features, feature_map = backbone.with_map(x)
    assert features.shape == (1, dim) == (1, backbone.dim) and feature_map.shape == (1, *map_shape)
    assert torch.autograd.grad(features.sum(), feature_map)[0].abs().sum() > 0
    if name.startswith("swin"):  # its map is (h, w, channels) within; the features are its mean over places
        torch.testing.assert_close(feature_map.mean((2, 3)), features, rtol=1e-4, atol=1e-5)
    if name == "legacy-xception":
        assert x.min() >= -1 and x.max() <= 1 and x.min() < -0.9 and x.max() > 0.9


@pytest.mark.slow
def test_timms_classifier_is_left_out(tmp_path):
    backbone = load_backbone("resnet50", "none", 0)
    published = {k.removeprefix("net."): v for k, v in backbone.state_dict().items()}
    published |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    save_file(published, tmp_path / "model.safetensors")
    loaded = load_backbone("resnet50", str(tmp_path / "model.safetensors"), 1)
    assert torch.equal(loaded.state_dict()["net.conv1.weight"], published["conv1.weight"])


@pytest.mark.slow
def test_swins_own_files_and_timms_are_one_network(tmp_path):
    backbone = load_backbone("swin-t", "none", 0)
    timm_names = {k.removeprefix("net."): v for k, v in backbone.state_dict().items()}
    heads = {"head.fc.weight": torch.zeros(1000, 768), "head.fc.bias": torch.zeros(1000)}
    save_file(timm_names | heads, tmp_path / "timm.safetensors")
    own = {k.replace("head.fc", "head"): v for k, v in (timm_names | heads).items()}
    for stage in (1, 2, 3):  # a downsampling closes the stage before
        for key in [k for k in own if k.startswith(f"layers.{stage}.downsample")]:
            own[key.replace(str(stage), str(stage - 1), 1)] = own.pop(key)
    own["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
    own["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    torch.save({"model": own}, tmp_path / "swin.pth")
    save_file(own, tmp_path / "swin.safetensors")
    for file in ("timm.safetensors", "swin.safetensors", "swin.pth"):
        loaded = load_backbone("swin-t", str(tmp_path / file), 1).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in backbone.state_dict().items()), file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean", "dim", "side", "map_shape"),
    [
        ("timm:resnet10t.c3_in1k", 0.485, 512, 96, (512, 3, 3)),  # any size
        ("timm:mobilenetv3_small_050", 0.485, 1024, 96, (288, 3, 3)),
        ("timm:vit_tiny_patch16_224", 0.5, 192, 224, (192, 14, 14)),  # one class token
        ("timm:swin_s3_tiny_224", 0.485, 768, 224, (768, 7, 7)),  # channels last
        ("timm:vit_small_patch16_dinov3", 0.485, 384, 256, None),  # registers beside the class token
        ("open_clip:RN50", 0.48145466, 1024, 224, (2048, 7, 7)),
    ],
)
def test_any_network_of_a_library_is_a_backbone_with_its_own_normalisation(name, mean, dim, side, map_shape):
    backbone: Any = load_backbone(name, "none", 0).eval()
    assert backbone.front.mean.flatten()[0].item() == pytest.approx(mean)
    assert backbone.size in (None, side)
    x = backbone.preprocess(pixels(1, side))
    if map_shape is None:
        assert backbone(x).shape == (1, dim) == (1, backbone.dim)
        with pytest.raises(UserError, match="no spatial map"):
            backbone.with_map(x)
        return
    features, feature_map = backbone.with_map(x)
    assert features.shape == (1, dim) == (1, backbone.dim) and feature_map.shape == (1, *map_shape)
    weighted = (features * torch.arange(dim)).sum()  # the plain sum of a LayerNorm's output is constant
    assert torch.autograd.grad(weighted, feature_map)[0].abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet51", "Did you mean 'resnet5"),
        ("timm:resnet18.a1_in2k", "Did you mean 'resnet18.a1_in1k'"),
        ("open_clip:ViT-B-17", "Did you mean 'ViT-B-16'"),
        ("open_clip:ViT-B-16/opena", "Did you mean 'openai'"),
        ("open_clip:roberta-ViT-B-32", "Hugging Face's"),
    ],
)
def test_a_network_that_its_library_does_not_have_is_refused_with_the_near_miss(name, words):
    with pytest.raises(UserError, match=words):
        load_backbone(name, "none", 0)


@pytest.mark.slow
def test_models_of_open_clip_are_normalised_as_their_weights_were_trained():
    assert normalisation("ViT-B-16-SigLIP", "") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert normalisation("ViT-B-32", "openai")[0] == pytest.approx((0.481, 0.458, 0.408), abs=1e-3)


@pytest.mark.slow
def test_the_classifier_of_any_network_of_timm_is_left_out(tmp_path):
    import timm

    published = timm.create_model("mobilenetv3_small_050").state_dict()
    save_file(published, tmp_path / "model.safetensors")
    loaded = load_backbone("timm:mobilenetv3_small_050", str(tmp_path / "model.safetensors"), 1).state_dict()
    assert not any("classifier" in key for key in loaded)
    assert all(torch.equal(value, published[key.removeprefix("net.")]) for key, value in loaded.items())
