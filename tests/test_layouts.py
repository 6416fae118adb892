"""Files of weights that people have: told apart by their headers before any job, and read under their own names."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file
from test_plan import edited

from tellsign.__main__ import run
from tellsign.errors import UserError
from tellsign.networks import torchscript
from tellsign.networks.backbones import BACKBONES, CLIPS
from tellsign.networks.backbones.loading import load_backbone, load_clip
from tellsign.networks.headers import read_header
from tellsign.networks.layouts import check_weights, layouts_for
from tellsign.networks.state import clip_part, load_strictly, read_state
from tellsign.system.integrity import sha256_of_file

TEXTS = torch.tensor([[1, 5, 9, 19, 0], [1, 7, 19, 0, 0]])  # the largest number ends a text
SIZES: dict[str, Any] = {
    "vision_cfg": {"image_size": 8, "layers": 2, "width": 8, "head_width": 4, "patch_size": 4},
    "text_cfg": {"context_length": 5, "vocab_size": 20, "width": 12, "heads": 3, "layers": 1},
    "embed_dim": 6,
}


def tiny_open_clip(seed: int = 0) -> open_clip.CLIP:
    """A CLIP of open_clip; every weight is drawn, so that no two are equal."""
    model = open_clip.CLIP(**SIZES, quick_gelu=True).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return model


def tiny_transformers() -> Any:
    """A CLIP of transformers of the same sizes."""
    from transformers import CLIPConfig, CLIPModel

    text = {"vocab_size": 20, "hidden_size": 12, "intermediate_size": 48, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 3, "max_position_embeddings": 5, "eos_token_id": 2, "bos_token_id": 1}
    vision = {"hidden_size": 8, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"image_size": 8, "patch_size": 4}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return model


def archive(path: Path) -> Path:
    """A file that looks like a TorchScript archive by its directory."""
    torch.save({"visual.conv1.weight": torch.zeros(1)}, path)
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr(f"{path.stem}/constants.pkl", b"")
        opened.writestr(f"{path.stem}/code/__torch__.py", b"")
    return path


# ------------------------------------------------------------------------------------------------ reading


def test_transformers_and_open_clip_are_one_network(tmp_path):
    theirs, ours = tiny_transformers(), tiny_open_clip()
    theirs.save_pretrained(tmp_path / "snapshot")
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    state = clip_part(read_state(tmp_path / "snapshot" / "model.safetensors"))
    renamed = {key.removeprefix("text.").replace("image.net.", "visual."): value for key, value in state.items()}
    load_strictly(ours, renamed, "it")
    with torch.no_grad():
        for came, due in (
            (ours.encode_image(images), theirs.get_image_features(pixel_values=images)),
            (ours.encode_text(TEXTS), theirs.get_text_features(input_ids=TEXTS)),
        ):
            due = due if isinstance(due, torch.Tensor) else due.pooler_output
            torch.testing.assert_close(came, due, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", ["transformers", "half", "module", "old"])
def test_a_clip_in_a_folder_takes_every_layout(layout, tmp_path):
    state = {key: value.contiguous() for key, value in tiny_transformers().state_dict().items()}
    due = clip_part(state)
    if layout == "half":
        state = {key: value.half() for key, value in state.items()}
    if layout == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    if layout == "old":
        state["text_model.embeddings.position_ids"] = torch.arange(5)[None]
    save_file(state, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": SIZES}))
    check_weights("open-clip", tmp_path, "")
    clip = load_clip("open-clip", str(tmp_path), 0).state_dict()
    backbone = load_backbone("open-clip", str(tmp_path), 0).state_dict()
    assert clip.keys() == due.keys() and {f"image.{key}" for key in backbone} < due.keys()
    for key, value in due.items():
        assert torch.equal(clip[key], value.half().float() if layout == "half" else value)


def test_tensors_that_transformers_clip_has_not_are_named():
    state = tiny_transformers().state_dict()
    del state["vision_model.encoder.layers.1.self_attn.k_proj.bias"]
    state["vision_model.encoder.layers.0.gate.weight"] = state["extra"] = torch.zeros(1)
    with pytest.raises(UserError) as caught:
        clip_part(state)
    for line in ("unknown: vision_model.encoder.layers.0.gate.weight", "unknown: extra"):
        assert line in str(caught.value)
    assert "not whole: visual.transformer.resblocks.1.attn.in_proj_bias" in str(caught.value)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning")
def test_openais_archives_are_read_without_their_program(tmp_path, monkeypatch):
    """A stand-in made as OpenAI made its own: traced, then halved, with three sizes as buffers."""
    model, file = tiny_open_clip(), tmp_path / "ViT-B-32.pt"
    due = model.state_dict()
    del model.attn_mask
    for name in ("input_resolution", "context_length", "vocab_size"):
        vars(model).pop(name, None)
        model.register_buffer(name, torch.tensor(8))
    traced = torch.jit.trace_module(model, {"encode_image": torch.zeros(1, 3, 8, 8)}, check_trace=False)
    traced.half().save(str(file))
    with pytest.raises(UserError, match="none that OpenAI published"):
        read_state(file)
    monkeypatch.setitem(torchscript.OPENAI, sha256_of_file(file), "ViT-B-32")
    again = tiny_open_clip(5)
    load_strictly(again, read_state(file), "it")
    assert all(torch.equal(value.half(), due[key].half()) for key, value in again.state_dict().items())
    assert again.logit_scale.dtype == torch.float32


@pytest.mark.parametrize("old", [True, False])
def test_numbers_of_numpy_beside_tensors_are_plain_values(old, tmp_path):
    file = tmp_path / "glip.pth"
    beside = {"best": np.float64(0.5), "iteration": np.int64(3), "done": np.bool_(True), "lr": np.float32(1e-4)}
    torch.save({"model": {"w": torch.ones(2)}, **beside}, file, _use_new_zipfile_serialization=not old)
    assert read_state(file)["w"].tolist() == [1, 1] and read_header(file).foreign == []
    torch.save({"model": {"w": torch.ones(2)}, "history": np.ones(3)}, file, _use_new_zipfile_serialization=not old)
    assert any("_reconstruct" in name for name in read_header(file).foreign)
    with pytest.raises(UserError, match="_reconstruct"):
        read_state(file)


def test_what_is_foreign_is_what_torch_does_not_make(tmp_path):
    plain = {"t": torch.ones(2).bfloat16(), "p": torch.nn.Parameter(torch.ones(1)), "s": torch.Size([1]), "c": 1j}
    plain |= {"d": torch.float16, "e": torch.device("cpu"), "f": {1, 2}, "g": bytearray(b"x"), "h": Counter("ab")}
    plain |= {"i": torch.ones(2, 2).to_sparse(), "j": b"bytes", "k": OrderedDict(a=[1.5, None, True, (2**40, "x")])}
    others = {"l": torch.nn.Linear(1, 1), "m": argparse.Namespace(a=1), "n": tmp_path}
    for contents, foreign in ((plain, False), (others, True)):
        torch.save(contents, tmp_path / "w.pt")
        listed = torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "w.pt")
        assert read_header(tmp_path / "w.pt").foreign == sorted(listed) and bool(listed) == foreign


def test_a_quantised_file_is_not_taken_for_weights():
    layer = torch.nn.Linear(2, 2)
    state = {key: value.to(torch.int8) for key, value in layer.state_dict().items()}
    with pytest.raises(UserError, match=r"quantised: weight is torch\.int8, not torch\.float32"):
        load_strictly(layer, state, "it")


# ------------------------------------------------------------------------------------------------ before any job


def test_openais_digests_are_those_in_open_clips_addresses():
    from open_clip.pretrained import get_pretrained_url, list_pretrained_models_by_tag

    urls = [get_pretrained_url(name, "openai") for name in list_pretrained_models_by_tag("openai")]
    listed = {match[1] for url in urls if (match := re.search(r"/models/([0-9a-f]{64})/", url))}
    assert torchscript.OPENAI.keys() == listed
    assert {f"{name}-quickgelu" for name in torchscript.OPENAI.values()} <= set(open_clip.list_models())


def test_every_backbone_says_which_layouts_it_takes():
    assert all(layouts_for(f"{name}x" if name.endswith(":") else name) for name in [*BACKBONES, *CLIPS])
    assert layouts_for("clip-vit-l14") != layouts_for("clip-rn50") and layouts_for("blip2") == ()


def test_files_are_told_apart_by_their_headers(tmp_path):
    state = {f"module.{key}": value.contiguous() for key, value in tiny_transformers().state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.bin")
    torch.save(state, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    headers = [read_header(tmp_path / name) for name in ("a.safetensors", "b.bin", "c.pth")]
    assert [header.container for header in headers] == ["safetensors", "torch", "torch"]
    names = {key.removeprefix("module.") for key in state}
    assert headers[0].names == names and all(names <= header.names for header in headers[1:])
    assert read_header(archive(tmp_path / "d.pt")).container == "torchscript"
    with zipfile.ZipFile(tmp_path / "e.pt", "w") as opened:
        opened.writestr("a/b.txt", "")
    torch.save(state, tmp_path / "f.pt", pickle_protocol=4)
    (tmp_path / "g.pt").write_bytes(b"\x80\x02K\x01.")
    for name, said in (("e.pt", "no data.pkl"), ("f.pt", "protocol 4"), ("g.pt", "did not write it")):
        with pytest.raises(UserError, match=said):
            read_header(tmp_path / name)


@pytest.mark.parametrize(
    ("network", "names", "said"),
    [
        ("resnet50", ["vision_model.pre_layrnorm.weight"], "names of transformers' CLIP; resnet50 takes"),
        ("clip-rn50", ["vision_model.pre_layrnorm.weight"], "clip-rn50 takes open_clip's names or"),
        ("clip-vit-b16", ["vision_model.head.probe"], "another model of transformers"),
        ("clip-vit-l14", ["backbone.body.norm.weight"], "the released GLIP's names"),
        ("glip-l", ["net.conv1.weight"], "glip-l takes the released GLIP's names"),
        ("clip-vit-l14", ["visual.conv1.weight"], None),
        ("clip-vit-l14", ["vision_model.pre_layrnorm.weight"], None),
        ("open_clip:ViT-B-32-quickgelu", ["conv1.weight"], None),
        ("timm:resnet18", ["conv1.weight"], None),
        ("freqnet", ["visual.conv1.weight"], None),
    ],
)
def test_a_layout_fits_its_networks_alone(network, names, said, tmp_path):
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "w.safetensors")
    if said is None:
        check_weights(network, tmp_path / "w.safetensors", "")
    else:
        with pytest.raises(UserError, match=said):
            check_weights(network, tmp_path / "w.safetensors", "")


def test_an_archive_fits_the_model_that_openai_published_it_for(tmp_path):
    digests = {model: digest for digest, model in torchscript.OPENAI.items()}
    file = archive(tmp_path / "RN50.pt")
    for network, model in (("clip-rn50", "RN50"), ("open_clip:RN50x4-quickgelu/openai", "RN50x4")):
        check_weights(network, file, digests[model])
    for network in ("clip-vit-l14", "open_clip:RN50", "resnet50", "freqnet"):  # RN50 has the exact GELU
        with pytest.raises(UserError, match=r"OpenAI's RN50.* It fits clip-rn50 and open_clip:RN50-quickgelu"):
            check_weights(network, file, digests["RN50"])


def test_what_would_run_code_and_folders_are_refused_with_a_way_out(tmp_path):
    torch.save({"model": {"w": torch.zeros(1)}, "args": argparse.Namespace(a=1)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"argparse\.Namespace.*\n  python -c"):
        check_weights("freqnet", tmp_path / "w.pth", "")
    with pytest.raises(UserError, match=r"is a folder; clip-vit-l14 takes one file.*w\.pth"):
        check_weights("clip-vit-l14", tmp_path, "")
    with pytest.raises(UserError, match=r"holds no open_clip_model\.safetensors"):
        check_weights("open-clip", tmp_path, "")


def planned(file: Path, tmp_path: Path) -> str:
    """The weights of a run's training that starts CLIP ViT-L/14 from a file, in the demo's plan."""
    change = {"backbone": {"name": "clip-vit-l14", "weights": str(file)}}
    plan = edited("mpft", lambda data: data["runs"].update(x=change), tmp_path)
    return plan.checkpoint(plan.run("mpft", "x"), 0).settings["backbone"]["weights"]


def test_the_plan_refuses_an_archive_and_takes_transformers_names(tmp_path):
    with pytest.raises(UserError, match=r"mpft: run x: .*is a TorchScript archive.*none that OpenAI published"):
        planned(archive(tmp_path / "ViT-L-14.pt"), tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({"vision_model.pre_layrnorm.weight": torch.zeros(1)}, file)
    assert planned(file, tmp_path) == str(file)


def test_the_doctor_and_the_weights_command_refuse_an_archive(tmp_path, monkeypatch, capsys):
    """A copy of the configuration whose MPFT starts from the file of the test."""
    monkeypatch.setenv("TELLSIGN_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "config").mkdir()
    for part in (ROOT / "config").iterdir():
        (tmp_path / "config" / part.name).symlink_to(part)
    (tmp_path / "config" / "papers").unlink()
    (tmp_path / "config" / "papers").mkdir()
    file = archive(tmp_path / "ViT-L-14.pt")
    for paper in (ROOT / "config" / "papers").iterdir():
        weights = str(file) if paper.stem == "mpft" else "clip-vit-l14"
        text = paper.read_text(encoding="utf-8").replace("weights: clip-vit-l14", f"weights: {weights}")
        (tmp_path / "config" / "papers" / paper.name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run(["doctor", "--configfile", "config/paper.yaml", "--table", "mpft-table1"]) == 1
    said = capsys.readouterr().out
    assert "is a TorchScript archive" in said and "Nothing is missing" not in said
    assert run(["weights", "--configfile", "config/paper.yaml"]) == 1
    assert "is a TorchScript archive" in capsys.readouterr().out


def test_headers_and_layouts_need_no_torch():
    modules = "tellsign.networks.headers, tellsign.networks.layouts, tellsign.networks.torchscript"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
