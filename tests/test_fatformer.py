"""FatFormer: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from baseline_cases import FOLDER, Case, cases_of, listed, recipe_settings
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
    empty_clip,
    norm,
    perceived,
    slow_image,
    small_fields,
    tiny_clip,
)
from small_runs import plan_of, train_and_val

from tellsign.detectors.fatformer import FatFormer, FatFormerMethod
from tellsign.detectors.recipes.fatformer import SQUARE
from tellsign.errors import UserError
from tellsign.networks.backbones.loading import load_clip
from tellsign.networks.state import load_strictly
from tellsign.networks.wavelet_adapter import haar, inverse_haar

CPU = torch.device("cpu")
VIEW = {"crop": 224, "smaller": "tile", "canvas": None}
SECOND_NAMES = r"image_encoder\.|text_encoder\.|logit_scale$"


def empty_network() -> FatFormer:
    """FatFormer of full size whose weights are to be loaded."""
    return FatFormer(empty_clip(), 3, 8)


@torch.no_grad()
@pytest.mark.parametrize("path", cases_of("fatformer"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case, network = Case(path), empty_network().eval()
    load_strictly(network, FatFormerMethod.published(listed("fatformer", skip=SECOND_NAMES)), "the list")
    told = json.loads((FOLDER / "fatformer" / "config.json").read_text())
    assert network.language_guided_alignment.end == told["eot_position"][0]
    x = check_crops(case, FatFormerMethod(network, {}, VIEW, CPU), SQUARE)
    blocks = network.clip_model.get_submodule("visual.transformer.resblocks")
    seen: dict[str, torch.Tensor] = {}
    adapters = {n: blocks.get_submodule(f"{n}.forgery_aware_adapter") for n in told["adapter_blocks_0based"]}
    for number, adapter in adapters.items():
        adapter.register_forward_hook(lambda _m, _i, output, n=number: seen.update({f"adapter_{n}": output}))
    first = adapters[7]
    first.dwt_norm.register_forward_pre_hook(lambda _m, inputs: seen.update(dwt=inputs[0][0]))
    for name in ("norm_intra", "norm_inter", "norm3"):
        first.get_submodule(name).register_forward_hook(lambda _m, _i, output, n=name: seen.update({n: output[0]}))
    terms, image = network.terms(x), network.image_tokens(x)
    case.compare("dwt_7", seen["dwt"][[0, 511, 1023]].unflatten(2, (8, 8)))
    case.compare("intra_7", seen["norm_intra"].transpose(0, 1)[:, [0, 37, 63], ::16])
    case.compare("inter_7", seen["norm_inter"][:, [0, 37, 63], ::16])
    case.compare("ffn_7", seen["norm3"][:, [0, 37, 63], ::16])
    for number in adapters:
        case.compare(f"adapter_{number}", seen[f"adapter_{number}"][:, [0, 1, 128, 256]])
    case.compare("context", network.language_guided_alignment.contexts(image)[0, :, ::4])
    case.compare("image_features", image[:, [0, 1, 128, 256]])
    case.compare("text_features", network.texts(image))
    case.compare("logits_cls", terms[0])
    case.compare("logits_patch", terms[1])
    case.compare("logits", terms.sum(0))
    case.check_all_compared()


def test_a_published_file_loads_by_its_own_names_and_no_other():
    network, state = empty_network(), listed("fatformer", fill=False)
    check_published_names(network, FatFormerMethod, state, "norm2.bias")
    assert len(state) == 1116
    state["text_encoder.ln_final.bias"] = torch.ones(768)  # a second name of something else
    with pytest.raises(UserError, match=r"1 tensors differ.\n  unknown: text_encoder.ln_final.bias"):
        load_strictly(network, FatFormerMethod.published(state), "the file")


def test_haars_bands_are_sums_of_cells_and_turn_back():
    maps = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    bands = haar(maps)
    (a, b), (c, d) = maps[1, 2, 2:4, 4:6].tolist()
    expected = [(a + b + c + d) / 2, (a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2]
    assert bands[1, 2, :, 1, 2].tolist() == pytest.approx(expected)
    assert torch.allclose(inverse_haar(bands), maps)


def tensors_of(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def layer(x: np.ndarray, own: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ own[f"{name}.weight"].T + own[f"{name}.bias"]


def normed(x: np.ndarray, own: dict[str, np.ndarray], name: str) -> np.ndarray:
    return norm(x, own[f"{name}.weight"], own[f"{name}.bias"])


def read(x: np.ndarray, y: np.ndarray, own: dict[str, np.ndarray], name: str, heads: int) -> np.ndarray:
    """Attention of x to y."""
    weight, bias = np.split(own[f"{name}.in_proj_weight"], 3), np.split(own[f"{name}.in_proj_bias"], 3)
    query, key, value = (one @ weight[i].T + bias[i] for i, one in enumerate((x, y, y)))
    return layer(attention(query, key, value, heads), own, f"{name}.out_proj")


def perceptron(x: np.ndarray, own: dict[str, np.ndarray]) -> np.ndarray:
    return layer(np.maximum(layer(x, own, "linear1"), 0), own, "linear2")


def slow_adapter(x: np.ndarray, own: dict[str, np.ndarray]) -> np.ndarray:
    """What an adapter adds to tokens of 16 numbers of 4 × 4 patches."""
    hidden = np.maximum(x @ own["first_conv_layer.weight"][:, :, 0].T + own["first_conv_layer.bias"], 0)
    picture = 0.1 * (hidden @ own["second_conv_layer.weight"][:, :, 0].T + own["second_conv_layer.bias"])
    grid, signs = x[1:].reshape(4, 4, 16), [(1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1)]
    places = [(2 * i, 2 * j) for i in range(2) for j in range(2)]
    bands = np.zeros((4, 4, 16))  # band, place
    for band in range(4):
        for p, (i, j) in enumerate(places):
            cell = grid[i, j], grid[i, j + 1], grid[i + 1, j], grid[i + 1, j + 1]
            bands[band, p] = sum(s * one for s, one in zip(signs[band], cell, strict=True)) / 2
    for group in (slice(0, 8), slice(8, 16)):
        part = bands[..., group]
        bands[..., group] = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
    bands = bands * own["dwt_norm.weight"] + own["dwt_norm.bias"]
    across = np.stack([read(bands[:, p], bands[:, p], own, "intra_band", 8) for p in range(4)], axis=1)
    bands = normed(bands + across, own, "norm_intra")
    bands = normed(bands + np.stack([read(one, one, own, "inter_band", 8) for one in bands]), own, "norm_inter")
    bands = normed(bands + perceptron(bands, own), own, "norm3")
    back = np.zeros_like(grid)
    for p, (i, j) in enumerate(places):
        for c, (di, dj) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            back[i + di, j + dj] = sum(signs[band][c] * bands[band, p] for band in range(4)) / 2
    return picture + own["freq_scale"] * np.concatenate([np.zeros((1, 16)), back.reshape(16, 16)])


def slow_outputs(state: dict[str, np.ndarray], image: np.ndarray, contexts: int) -> list[float]:
    """Outputs for real and for fake with adapters in blocks 2 and 5."""
    clip, outer = tensors_of(state, "clip_model."), tensors_of(state, "language_guided_alignment.")
    tower = tensors_of(clip, "visual.")
    x = embedded(tower, image)
    for number in range(LAYERS):
        block = block_of(tower, number)
        x = attended(x, block)
        own = tensors_of(block, "forgery_aware_adapter.")
        x = perceived(x, block) + (slow_adapter(x, own) if number in (2, 5) else 0)
    tokens = normed(x, tower, "ln_post") @ tower["proj"]
    t = normed(outer["ctx"] + read(outer["ctx"], tokens, outer, "patch_basaed_enhancer", 12), outer, "norm1")
    t = normed(t + perceptron(t, outer), outer, "norm2")
    texts = []
    for label in range(2):
        x = (
            np.concatenate([outer["token_prefix"][label], t, outer["token_suffix"][label]])
            + clip["positional_embedding"]
        )
        for number in range(2):
            block = block_of(clip, number)
            rows = normed(x, block, "ln_1") @ block["attn.in_proj_weight"].T + block["attn.in_proj_bias"]
            x = x + layer(attention(*np.split(rows, 3, axis=1), 2, causal=True), block, "attn.out_proj")
            x = perceived(x, block)
        texts.append(normed(x[1 + contexts + 2], clip, "ln_final") @ clip["text_projection"])
    u = normed(tokens[1:] + read(tokens[1:], np.stack(texts), state, "text_guided_interactor", 12), state, "norm1")
    guided = normed(u + perceptron(u, state), state, "norm2").mean(0)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return a @ b / math.sqrt((a @ a) * (b @ b))

    return [math.exp(clip["logit_scale"]) * (cosine(tokens[0], text) + cosine(guided, text)) for text in texts]


@torch.no_grad()
def test_fatformer_is_that_of_loops(tmp_path):
    name, _ = tiny_clip(tmp_path)
    torch.manual_seed(0)
    network = FatFormer(load_clip(name, str(tmp_path / "tiny.safetensors"), 0), 2, 3)
    for key, value in network.named_parameters():
        if "freq_scale" in key:
            value.fill_(0.7)
    network = network.double().eval()
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    image = slow_image()
    found = network.terms(torch.from_numpy(image)[None]).sum(0)[0]
    assert found.tolist() == pytest.approx(slow_outputs(state, image, 3), abs=1e-8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


def test_it_is_planned_trained_and_scored(data, tmp_path):
    settings, log = check_stages(data, tmp_path, small_fields(tmp_path, "fatformer") | {"adapters": 2, "contexts": 3})
    assert float(log[0]["lr"]) == 4e-4
    start = FatFormerMethod.begin(settings, None, None, CPU).model.state_dict()
    moved = r"freq_scale|_conv_layer|alignment\.(ctx|patch|norm|linear)|^(text_guided|norm|linear)"
    later = r"forgery_aware_adapter\.(dwt_norm|int|norm|linear)"  # gradients reach these once freq_scale is not 0
    check_what_moved(tmp_path, start, f"{moved}|{later}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adapters": 4}, "puts 4 adapters into every n-th block"),
        (
            {"backbone": {"name": "demo-clip-vit", "weights": "shipped"}, "crop": 72, "crop_test": 72},
            "inside a CLIP of",
        ),
        ({"crop": 64, "crop_test": 64}, "needs crops of 32 pixels, not 64"),
        (
            {"backbone": {"name": "open_clip:ViT-S-32", "weights": "none"}, "crop": 224, "crop_test": 224},
            "this CLIP has 7 × 7 patches",
        ),
    ],
)
def test_a_clip_that_does_not_fit_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        FatFormerMethod.begin(recipe_settings(**small_fields(tmp_path, "fatformer") | change), None, None, CPU)


def test_a_recipe_that_cannot_be_right_is_refused(tmp_path):
    with pytest.raises(UserError, match="contexts: 0 must be above 0"):
        plan_of(tmp_path, {"rival": small_fields(tmp_path, "fatformer") | {"contexts": 0}}).everything()
