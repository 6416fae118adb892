import copy
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tellsign.errors import UserError
from tellsign.networks.glip.bert import BertConfig
from tellsign.networks.glip.model import GLIP_L, GLIP_T, Glip, GlipConfig
from tellsign.networks.glip.weights import load_official, released_name

TINY = GlipConfig(
    dim=8,
    depths=(1, 1, 2, 1),
    heads=(1, 2, 2, 2),
    window=3,
    blocks=2,
    mlp_ratio=2.0,
    channels=16,
    groups=4,
    fusion_width=16,
    fusion_heads=2,
    bert=BertConfig(16, 1, 2, 32, 40, 24, 2),
    max_tokens=16,
    classes=3,
)
SHARED = Path(__file__).parents[2] / "shared" / "glip"


def tiny_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of TINY under the released names."""
    g = torch.Generator().manual_seed(seed)
    state = {
        released_name(name): torch.randn(tensor.shape, generator=g) * 0.3
        for name, tensor in Glip(TINY).state_dict().items()
    }
    return {**state, "rpn.head.cls_logits.weight": torch.zeros(3, 16, 1, 1), "rpn.head.cls_logits.bias": torch.zeros(3)}


def test_released_files_load(tmp_path):
    """Under ``model`` beside other things, with ``module.`` before every name; constants and other tasks ignored."""
    state = tiny_state()
    extras = {
        "language_backbone.body.model.embeddings.position_ids": torch.arange(24)[None],
        "backbone.body.layers.0.blocks.0.attn.relative_position_index": torch.zeros(9, 9).long(),
        "rpn.anchor_generator.cell_anchors.0": torch.zeros(1, 4),
        "rpn.head.mlm_head.bias": torch.zeros(2),
        "language_backbone.body.model.pooler.dense.bias": torch.zeros(2),
        "rpn.head.tunable_linear.weight": torch.zeros(2),
    }
    saved = {"module." + name: tensor for name, tensor in {**state, **extras}.items()}
    other = {name: tensor + 1 for name, tensor in saved.items()}
    optimizer = {"param_groups": [{"lr": 1e-4, "params": [0]}]}
    file = tmp_path / "glip.pth"
    torch.save({"model": saved, "model_ema": other, "optimizer": optimizer, "iteration": 7}, file)
    net = load_official(file, TINY)
    assert not net.training
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, state[released_name(name)])


def test_other_layouts_load_the_same(tmp_path):
    state = tiny_state()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    torch.save({"model": {name: tensor.half() for name, tensor in state.items()}}, tmp_path / "c.pth")
    torch.save({"model": state}, tmp_path / "d.pth", _use_new_zipfile_serialization=False)
    names = ("a.safetensors", "b.pth", "c.pth", "d.pth")
    a, b, c, d = (load_official(tmp_path / name, TINY).state_dict() for name in names)
    for name in a:
        assert torch.equal(a[name], b[name])
        assert torch.equal(a[name], d[name])
        torch.testing.assert_close(c[name], a[name], rtol=1e-3, atol=1e-4)


def test_a_loaded_file_may_go(tmp_path):
    file = tmp_path / "glip.pth"
    torch.save(tiny_state(), file)
    net = load_official(file, TINY)
    file.write_bytes(b"")
    assert torch.equal(net.head.log_scale, tiny_state()["rpn.head.log_scale"])


def test_all_differences_are_listed(tmp_path):
    state = tiny_state()
    state["rpn.head.other.weight"] = torch.zeros(1)
    state["backbone.fpn.fpn_inner2.bias"] = torch.zeros(17)
    state["rpn.head.cls_logits.bias"] = torch.zeros(4)
    state["rpn.head.bias0"] = torch.zeros(1, dtype=torch.int64)
    del state["rpn.head.dyhead_tower.3.b_attn.gamma_v"], state["backbone.body.norm2.weight"]
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(UserError) as caught:
        load_official(tmp_path / "a.safetensors", TINY)
    lines = str(caught.value).splitlines()
    assert "6 tensors" in lines[0]
    assert sorted(lines[1:]) == [
        "missing: backbone.body.norm2.weight",
        "missing: rpn.head.dyhead_tower.3.b_attn.gamma_v",
        "not known: rpn.head.other.weight",
        "not numbers: rpn.head.bias0",
        "shape (17,) instead of (16,): backbone.fpn.fpn_inner2.bias",
        "shape (4,) instead of (3,): rpn.head.cls_logits.bias",
    ]


@pytest.mark.parametrize("name", ["glip.pth", "glip.safetensors"])
def test_files_that_are_no_weights(tmp_path, name):
    file = tmp_path / name
    with pytest.raises(UserError, match="does not exist"):
        load_official(file, TINY)
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="cannot be read"):
        load_official(file, TINY)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="by name"):
        load_official(tmp_path / "list.pth", TINY)


def test_a_file_that_needs_code_is_refused(tmp_path):
    torch.save({"model": tiny_state(), "path": Path("x")}, tmp_path / "glip.pth")
    with pytest.raises(UserError, match="plain values"):
        load_official(tmp_path / "glip.pth", TINY)


def config_json() -> dict:
    """TINY as its file says it."""
    return {
        "swin": {
            "embed_dim": 8,
            "depths": [1, 1, 2, 1],
            "heads": [1, 2, 2, 2],
            "window": 3,
            "mlp_ratio": 2.0,
            "out_channels": [8, 16, 32, 64],
            "patch_size": 4,
        },
        "fpn_channels": 16,
        "head_channels": 16,
        "num_dyhead_blocks": 2,
        "group_norm_groups": 4,
        "fusion": {"num_heads": 2, "embed_dim": 16, "vision_dim": 16, "text_dim": 16},
        "bert": {**asdict(TINY.bert), "hidden_act": "gelu", "pad_token_id": 0},
        "max_query_len": 16,
        "num_classes": 3,
        "anchor_sizes": [64, 128, 256, 512, 1024],
        "anchor_strides": [8, 16, 32, 64, 128],
        "aspect_ratios": [1.0],
        "scales_per_octave": 1,
        "pixel_mean_bgr": list(TINY.mean),
        "pixel_std_bgr": list(TINY.std),
        "size_divisibility": 32,
    }


def test_sizes_come_from_a_file(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config_json()))
    assert GlipConfig.from_json(file) == TINY


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("fusion", "vision_dim", 8, "vision_dim is 8"),
        ("bert", "hidden_act", "relu", "hidden_act is 'relu'"),
        (None, "aspect_ratios", [0.5, 1.0], "aspect_ratios"),
        (None, "max_query_len", None, "max_query_len"),
    ],
)
def test_other_networks_are_refused(tmp_path, part, name, value, said):
    data = copy.deepcopy(config_json())
    inner = data if part is None else data[part]
    if value is None:
        del inner[name]
    else:
        inner[name] = value
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=said):
        GlipConfig.from_json(tmp_path / "config.json")


@pytest.mark.parametrize(("letter", "config"), [("l", GLIP_L), ("t", GLIP_T)])
def test_full_size_files_load(tmp_path, letter, config):
    """Every tensor that the released code expects, of its shape, under its name, and no other of ours."""
    table = SHARED / f"glip_{letter}_state_dict.tsv"
    if not table.is_file():
        pytest.skip(f"needs {table}, the released state dict's names, which is not part of this repository")
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    shapes = {name: [int(n) for n in shape.split("x") if n] for name, shape, *_ in rows}
    # tensors are windows of one random one, which torch.save writes once: a small file with all of the names
    noise = torch.rand(25_000_000, generator=torch.Generator().manual_seed(0))
    state = {}
    for place, (name, _, dtype, _) in enumerate(rows):
        size = torch.Size(shapes[name])
        whole = noise[place : place + size.numel()].view(size)
        state["module." + name] = whole if dtype == "float32" else torch.zeros(size, dtype=getattr(torch, dtype))
    file = tmp_path / "glip.pth"
    torch.save({"model": state, "model_ema": {"module.x": noise[:1]}, "optimizer": {}, "iteration": 1}, file)

    net = load_official(file, config)
    ours = {released_name(name): tensor for name, tensor in net.state_dict().items()}
    constants = ("position_index", "position_ids", "cls_logits.weight", "cls_logits.bias")
    unused = [name for name in shapes if name.endswith(constants) or "cell_anchors" in name]
    assert set(ours) == set(shapes) - set(unused)
    assert all(torch.equal(ours[name], state["module." + name]) for name in ours)
    with pytest.raises(UserError, match="missing"):
        load_official(file, replace(config, blocks=config.blocks + 1))
