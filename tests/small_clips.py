"""A tiny CLIP under a name of open_clip's: what detectors on a CLIP's towers are tested with."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from baseline_cases import Case
from safetensors.torch import load_file, save_file
from small_runs import plan_of, scored, trained
from torch import Tensor, nn

from tellsign.detectors.on_clip import ClipMethod
from tellsign.errors import UserError
from tellsign.networks.backbones.backbone import Backbone, Clip, Standardise
from tellsign.networks.backbones.open_clip_towers import CLIP_MEAN, CLIP_STD, two_towers
from tellsign.networks.determinism import seeded
from tellsign.networks.state import load_strictly
from tellsign.schema.training import Resize

NAME = "ViT-tiny-for-tests"
SIDE, WIDTH, LAYERS, DIM = 32, 16, 6, 12
SETTINGS = {
    "embed_dim": DIM,
    "quick_gelu": True,
    "vision_cfg": {"image_size": SIDE, "layers": LAYERS, "width": WIDTH, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 12, "heads": 2, "layers": 2},
}


def tiny_clip(folder: Path) -> tuple[str, dict[str, Tensor]]:
    """Make a tiny CLIP known and write its weights; the backbone's name, and what ``tiny.safetensors`` holds."""
    (folder / f"{NAME}.json").write_text(json.dumps(SETTINGS))
    open_clip.add_model_config(folder / f"{NAME}.json")
    with seeded(3):
        model = open_clip.CLIP(**SETTINGS)  # pyright: ignore[reportArgumentType]
        state = {name: value + 0.1 * torch.randn_like(value) for name, value in model.state_dict().items()}
    save_file(state, folder / "tiny.safetensors")
    return f"open_clip:{NAME}", state


def empty_clip() -> Clip:
    """CLIP ViT-L/14 whose weights are to be filled: nothing is drawn."""
    with torch.device("meta"):
        model = open_clip.CLIP(**open_clip.get_model_config("ViT-L-14-quickgelu"))  # pyright: ignore[reportCallIssue]
    model.to_empty(device="cpu")
    model.attn_mask = torch.full((77, 77), -math.inf).triu(1)
    return two_towers(model, open_clip.tokenize, 768, 224, Standardise(CLIP_MEAN, CLIP_STD))


def empty_tower() -> Backbone:
    """The image tower of `empty_clip`."""
    return empty_clip().image


def small_fields(folder: Path, method: str) -> dict[str, Any]:
    """What a recipe on the tiny CLIP says."""
    name, _ = tiny_clip(folder)
    backbone = {"name": name, "weights": str(folder / "tiny.safetensors")}
    return {"method": method, "backbone": backbone, "crop": SIDE, "crop_test": SIDE, "batch_size": 6, "epochs": 2}


def check_stages(data: Path, folder: Path, fields: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Plan, train twice to the same bytes, and score a recipe; the training's settings and log."""
    plan = plan_of(folder, {"rival": fields})
    run = plan.run("toys", "rival")
    checkpoint = plan.checkpoint(run, 0)
    log = trained(data, folder / "run", checkpoint)
    found = scored(data, folder / "run", plan.score(run))["score"].to_pylist()
    assert len(found) == 8 and all(0 <= score <= 1 for score in found) and len(set(found)) > 1
    trained(data, folder / "again", checkpoint)
    first, second = ((folder / name / "model.safetensors").read_bytes() for name in ("run", "again"))
    assert first == second
    return checkpoint.settings, log


def check_what_moved(folder: Path, start: dict[str, Tensor], moves: str) -> None:
    """Of a training in ``folder / "run"`` exactly the tensors whose names a pattern finds differ from the start."""
    after = load_file(folder / "run" / "model.safetensors")
    assert set(after) == set(start)
    moved = {name for name, value in after.items() if not torch.equal(value, start[name])}
    assert moved == {name for name in after if re.search(moves, name)}


def check_crops(case: Case, method: ClipMethod, resize: Resize | None = None, *, exact: bool = True) -> Tensor:
    """Compare the crops of a case and what the network sees of them; the latter.

    Args:
        case: The case.
        method: Cuts and prepares them.
        resize: Resizing before that.
        exact: What the network sees is the same to the bit.
    """
    crops = method.views(case.table(resize=resize), torch.arange(len(case.pictures)))[:, 0]
    x = method.preprocess(crops)
    for number in case.pictures:
        case.compare(f"crop_{number}", crops[number].permute(1, 2, 0), exact=True)
        case.compare(f"input_{number}", x[number, :, 3::8, 5::8], exact=exact)
    return x


@contextlib.contextmanager
def outputs_of(**modules: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The last outputs of some modules by name, filled while the block computes."""
    found: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        found[name] = output

    handles = [one.register_forward_hook(functools.partial(keep, name)) for name, one in modules.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def check_published_names(network: nn.Module, method: type[ClipMethod], state: dict[str, Tensor], last: str) -> None:
    """A published state loads with nothing missing or unknown; with a tensor less or more it does not.

    Args:
        network: Of the state's size.
        method: Knows the names.
        state: The published state.
        last: One of its names.
    """

    def load(stored: dict[str, Tensor]) -> None:
        tensors = method.published(stored)
        load_strictly(network, tensors | dict(method.added(network.state_dict(), tensors)), "the file")

    load(state)
    with pytest.raises(UserError, match=r"does not fit: 1 tensors differ.\n  missing"):
        load({name: value for name, value in state.items() if name != last})
    with pytest.raises(UserError, match=r"does not fit: 1 tensors differ.\n  unknown: extra"):
        load({**state, "extra": state[last]})


# ------------------------------------------------------------------------------------------------- slow code


def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """LayerNorm over the last axis."""
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def embedded(state: dict[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """The tokens that the image tower's first block reads, of one prepared image."""
    patches = [image[:, i : i + 8, j : j + 8] for i in range(0, SIDE, 8) for j in range(0, SIDE, 8)]
    rows = [(state["conv1.weight"] * patch).sum((1, 2, 3)) for patch in patches]
    x = np.stack([state["class_embedding"], *rows]) + state["positional_embedding"]
    return norm(x, state["ln_pre.weight"], state["ln_pre.bias"])


def block_of(state: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """The tensors of one block."""
    begin = f"transformer.resblocks.{number}."
    return {name.removeprefix(begin): value for name, value in state.items() if name.startswith(begin)}


def attention(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int, *, causal: bool = False) -> np.ndarray:
    """Attention head by head and token by token."""
    out, width = np.zeros_like(query), query.shape[1] // heads
    for part in (slice(i, i + width) for i in range(0, query.shape[1], width)):
        for i in range(len(query)):
            read = range(i + 1 if causal else len(key))
            weights = np.array([math.exp(query[i, part] @ key[j, part] / width**0.5) for j in read])
            out[i, part] = (weights / weights.sum()) @ value[: len(weights), part]
    return out


def attended(x: np.ndarray, block: dict[str, np.ndarray]) -> np.ndarray:
    """Tokens of one image after a block's attention, whose heads are 8 wide."""
    read, width = norm(x, block["ln_1.weight"], block["ln_1.bias"]), x.shape[1]
    query, key, value = np.split(read @ block["attn.in_proj_weight"].T + block["attn.in_proj_bias"], 3, axis=1)
    out = attention(query, key, value, width // 8)
    return x + out @ block["attn.out_proj.weight"].T + block["attn.out_proj.bias"]


def perceived(x: np.ndarray, block: dict[str, np.ndarray]) -> np.ndarray:
    """Tokens after a block's perceptron with the quick GELU."""
    read = norm(x, block["ln_2.weight"], block["ln_2.bias"])
    hidden = read @ block["mlp.c_fc.weight"].T + block["mlp.c_fc.bias"]
    hidden = hidden / (1 + np.exp(-1.702 * hidden))
    return x + hidden @ block["mlp.c_proj.weight"].T + block["mlp.c_proj.bias"]


def embedding(state: dict[str, np.ndarray], image: np.ndarray, layers: int = LAYERS) -> np.ndarray:
    """The normed class token of the image tower, before its projection."""
    x = embedded(state, image)
    for number in range(layers):
        block = block_of(state, number)
        x = perceived(attended(x, block), block)
    return norm(x[0], state["ln_post.weight"], state["ln_post.bias"])


def slow_image() -> np.ndarray:
    """A prepared image of noise."""
    return np.random.default_rng(4).normal(size=(3, SIDE, SIDE))
