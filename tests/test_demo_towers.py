from __future__ import annotations

import copy
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.demo import scenes, weights, words
from tellsign.demo.teach import (
    Thing,
    View,
    batches,
    centres,
    contrastive_loss,
    mirrored,
    one_cycle,
    word_loss,
    word_map,
)
from tellsign.demo.towers import Block, ColourAndResidual, MiniXception, causal
from tellsign.errors import UserError
from tellsign.networks.backbones.fronts import HighPass, unit_residual
from tellsign.networks.backbones.loading import load_clip
from tellsign.networks.determinism import seeded
from tellsign.stages import demo_weights
from tellsign.system.integrity import sha256_of_file

SHIPPED = Path(weights.__file__).parent


# ------------------------------------------------------------------------------------------ words


def test_the_words_are_those_of_the_scenes():
    assert tuple(scenes.COLOURS) == words.COLOURS and tuple(scenes.SHAPES) == words.SHAPES
    assert tuple(scenes.BACKGROUNDS) == words.BACKGROUNDS
    assert tuple(scenes.BACKGROUND_COLOURS) == words.BACKGROUND_COLOURS
    assert len(set(words.VOCABULARY)) == len(words.VOCABULARY)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["", "a compressed photo of "]))
def test_captions_survive_their_numbers(seed, lead):
    _, truth = scenes.scene(np.random.default_rng(seed), 48)
    text = lead + scenes.caption(truth)
    tokens = words.tokenise([text])[0]
    assert tokens[0] == words.START and (tokens == words.END).sum() == 1
    assert words.text_of(tokens.tolist()) == text


def test_long_texts_are_cut_and_unknown_words_refused():
    tokens = words.tokenise(["red " * 40, ""])
    assert tokens[0].tolist() == [words.START, *[words.NUMBER["red"]] * 22, words.END]
    assert tokens[1].tolist() == [words.START, words.END, *[words.PAD] * 22]
    with pytest.raises(UserError, match="Did you mean 'circle'"):
        words.tokenise(["a red circel"])


# ------------------------------------------------------------------------------------------ towers


def test_the_residual_equals_a_loop():
    x = torch.rand(1, 2, 4, 5) * 2 - 1
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    high = torch.empty_like(x)
    for c in range(2):
        for i in range(4):
            for j in range(5):
                high[0, c, i, j] = 8 * (x[0, c, i, j] - padded[0, c, i : i + 3, j : j + 3].mean())
    assert torch.allclose(unit_residual(x, 0.1), high / ((high**2).mean().sqrt() + 0.1), atol=1e-5)


def test_the_residual_forgets_light_and_contrast_but_not_structure():
    x = torch.rand(1, 3, 16, 16) * 0.5
    assert torch.allclose(unit_residual(x, 0.0), unit_residual(0.3 * x + 0.2, 0.0), atol=1e-4)
    assert unit_residual(torch.full((1, 3, 8, 8), 0.4), 0.02).abs().max() < 1e-3
    pixels = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8)
    six = ColourAndResidual()(pixels)
    assert torch.allclose(six[:, :3], pixels / 127.5 - 1) and six.shape[1] == 6
    assert torch.allclose(HighPass()(pixels).square().mean((1, 2, 3)), torch.ones(2), atol=0.05)


def test_attention_equals_a_loop_over_tokens_and_heads():
    with seeded(0):
        block = Block(8, 2)
    x, allowed = torch.randn(1, 5, 8), causal(5)
    query, key, value = block.to_qkv(block.norm_1(x))[0].split(8, dim=1)
    read = torch.zeros(5, 8)
    for head in (slice(0, 4), slice(4, 8)):
        for i in range(5):
            share = torch.stack([query[i, head] @ key[j, head] / 2 for j in range(i + 1)]).softmax(0)
            read[i, head] = sum(share[j] * value[j, head] for j in range(i + 1))
    middle = x[0] + block.to_out(read)
    expected = middle + block.perceptron(block.norm_2(middle))
    assert torch.allclose(block(x, allowed)[0], expected, atol=1e-5)


def test_a_causal_text_tower_ignores_what_follows_the_end():
    text = load_clip("demo-clip-vit", "none", 0).text
    tokens = words.tokenise(["a red circle"])
    other = tokens.clone()
    other[0, 6:] = words.NUMBER["blue"]
    assert torch.allclose(text(tokens), text(other), atol=1e-6)
    assert not torch.allclose(text(tokens), text(words.tokenise(["a red square"])), atol=1e-3)


def test_mini_xception_has_stride_16_and_takes_any_size():
    with seeded(0):
        network = MiniXception().eval()
    assert network.body(torch.zeros(1, 3, 64, 96)).shape == (1, 192, 4, 6)
    assert network(torch.zeros(1, 3, 33, 47)).shape == (1, 192)
    x, shifted = torch.zeros(1, 3, 160, 160), torch.zeros(1, 3, 160, 160)
    x[..., 64:80, 64:80], shifted[..., 80:96, 64:80] = 1, 1  # by 16 pixels: the map moves by one place
    assert torch.allclose(network.body(x)[..., 3:7, 3:7], network.body(shifted)[..., 4:8, 3:7], atol=1e-5)


# ------------------------------------------------------------------------------------------ losses


def test_the_contrastive_loss_equals_a_loop():
    torch.manual_seed(0)
    images, texts = torch.randn(4, 3), torch.randn(4, 3)
    texts[2] = texts[0]
    tokens = torch.tensor([[1, 5, 2], [1, 6, 2], [1, 5, 2], [1, 7, 2]])
    total = 0.0
    cosine = [[float(F.cosine_similarity(a, b, dim=0)) * 3 for b in texts] for a in images]
    same = [[tokens[i].tolist() == tokens[j].tolist() for j in range(4)] for i in range(4)]
    for i in range(4):
        row, column = cosine[i], [cosine[j][i] for j in range(4)]
        for line in (row, column):
            log_sum = math.log(sum(math.exp(v) for v in line))
            own = [line[j] - log_sum for j in range(4) if same[i][j]]
            total -= sum(own) / len(own) / 4 / 2
    loss = contrastive_loss(images, texts, tokens, torch.tensor(math.log(3.0)))
    assert float(loss) == pytest.approx(total, abs=1e-5)


def view(*things: Thing) -> View:
    return View(np.zeros((96, 96, 3), np.uint8), "a", "pink", "dotted", things)


def test_a_word_map_names_object_and_background():
    marked = word_map(view(Thing((16, 0, 32, 33), "blue", "cross")), 6).unflatten(1, (6, 6))
    assert marked.shape == (2, 6, 6)
    blue, cross = words.COLOURS.index("blue"), words.SHAPES.index("cross")
    pink, dotted = 8 + words.BACKGROUND_COLOURS.index("pink"), 6 + words.BACKGROUNDS.index("dotted")
    for i in range(6):
        for j in range(6):
            inside = j == 1 and i < 2  # middles at 8, 24, 40, …
            assert marked[:, i, j].tolist() == ([blue, cross] if inside else [pink, dotted])


def test_the_word_loss_of_an_ignorant_reader():
    marked = word_map(view(Thing((0, 0, 50, 50), "red", "ring")), 3)[None]
    assert float(word_loss(torch.zeros(1, 9, 26), marked)) == pytest.approx(1.3 * math.log(14 * 12), abs=1e-5)


def test_centres_hold_the_box_of_their_object():
    target = centres([view(Thing((20, 30, 52, 62), "red", "ring"), Thing((70, 70, 90, 94), "black", "circle"))])
    at = (0, (46 - 2) // 4, (34 + 2) // 4 - 1)  # a place with x = 34, y = 46
    assert target.objectness[at] == 1 and target.counts[at] == 1
    assert target.colours[at] == words.COLOURS.index("red") and target.shapes[at] == words.SHAPES.index("ring")
    assert (target.sides[0, :, at[1], at[2]] * 16).tolist() == [34 - 20, 46 - 30, 52 - 34, 62 - 46]
    assert target.counts[0, 0, 0] == 1 and target.objectness[0, 0, 0] == 0 and target.colours[0, 0, 0] == -1
    undecided = (target.counts[0] == 0).nonzero().tolist()
    assert undecided
    for i, j in undecided:
        assert target.objectness[0, i, j] == 0


def test_mirrored_tokens_and_words_turn_together():
    tokens = torch.arange(4.0).reshape(1, 4, 1)
    spoken = words.tokenise(["a red ring left of a blue cross above"])
    flipped, said = mirrored(tokens, spoken, axis=2)
    assert flipped.flatten().tolist() == [1, 0, 3, 2]
    assert words.text_of(said[0].tolist()) == "a red ring right of a blue cross above"
    flipped, said = mirrored(tokens, spoken, axis=1)
    assert flipped.flatten().tolist() == [2, 3, 0, 1]
    assert words.text_of(said[0].tolist()) == "a red ring left of a blue cross below"


def test_one_cycle_rises_and_falls_to_almost_nothing():
    rates = [one_cycle(step, 40, 2.0) for step in range(40)]
    assert max(rates) == rates[3] == rates[4] == 2.0 and rates[0] == 0.5
    assert all(a > b for a, b in itertools.pairwise(rates[4:])) and 0 < rates[-1] < 0.01


def test_batches_are_full_and_without_repetition_in_a_pass():
    drawn = list(batches(10, 3, 7, torch.Generator().manual_seed(0)))
    assert len(drawn) == 7 and all(len(rows) == 3 for rows in drawn)
    for start in (0, 3):
        assert len(set(torch.cat(drawn[start : start + 3]).tolist())) == 9
    with pytest.raises(ValueError, match="3 rows"):
        batches(3, 4, 1, torch.Generator())


# ----------------------------------------------------------------------------------------------- shipped we


def tiny() -> dict:
    small: dict[str, Any] = copy.deepcopy(demo_weights.SETTINGS) | {"side": 96, "photos": 9, "held_out": 2}
    for recipe in (*small["clip"].values(), small["grounder"], small["captioner"]):
        recipe |= {"steps": 2, "batch": 4}
    for recipe in small["clip"].values():
        recipe |= {"word_steps": 1, "batch": [4, 2, 2]}
    return small


def contents(folder: Path) -> dict[str, bytes]:
    """The weights of a folder and what is told of them."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.suffix in (".json", ".safetensors")}


def test_equal_settings_give_equal_bytes_and_another_seed_others(tmp_path):
    torch.manual_seed(1)
    demo_weights.main(settings=tiny(), out=tmp_path / "one")
    torch.manual_seed(2)
    demo_weights.main(settings=tiny(), out=tmp_path / "two")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one == two and len(one) == 5
    demo_weights.main(settings=tiny() | {"seed": 1}, out=tmp_path / "three")
    assert all(one[name] != data for name, data in contents(tmp_path / "three").items())


def test_the_views_of_a_photograph_hold_its_objects():
    photo = demo_weights.photograph(0, 5, 176)
    assert photo.whole.pixels.shape == photo.crop.pixels.shape == photo.single.pixels.shape == (72, 72, 3)
    assert photo.large.pixels.shape == (96, 96, 3)
    for thing in photo.whole.things:
        assert thing.colour in photo.whole.text and thing.shape in photo.whole.text
    large, small = (np.array([t.box for t in v.things]) for v in (photo.large, photo.whole))
    assert np.allclose(large / 96, small / 72)
    centre = [np.array(t.box).reshape(2, 2).mean(0) for t in photo.single.things if t.shape in photo.single.text]
    assert min(np.abs(at - 36).max() for at in centre) < 12  # the named object is in the middle


def test_the_shipped_files_are_whole_small_and_listed():
    listed = weights.facts()["files"]
    assert {path.stem for path in SHIPPED.glob("*.safetensors")} == set(listed)
    assert sum(path.stat().st_size for path in SHIPPED.iterdir() if path.is_file()) < 5_000_000
    for name, fact in listed.items():
        assert sha256_of_file(SHIPPED / f"{name}.safetensors") == fact["sha256"]
    assert weights.facts()["settings"] == json.loads(json.dumps(demo_weights.SETTINGS))


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    (tmp_path / "weights.json").write_text((SHIPPED / "weights.json").read_text())
    (tmp_path / "demo-grounder.safetensors").write_bytes((SHIPPED / "demo-grounder.safetensors").read_bytes()[:-1])
    monkeypatch.setattr(weights.resources, "files", lambda _: tmp_path)
    with pytest.raises(UserError, match="damaged"):
        weights.read("demo-grounder")


@pytest.mark.slow
def test_retraining_gives_the_shipped_bytes(tmp_path):
    trained_on, here = weights.facts()["machine"], demo_weights.machine()
    if trained_on != here:
        pytest.skip(f"shipped weights were trained on {trained_on}, this is {here}: last bits may differ")
    threads = torch.get_num_threads()
    demo_weights.main(settings=demo_weights.SETTINGS, out=tmp_path / "again")
    torch.set_num_threads(threads)
    assert contents(tmp_path / "again") == contents(SHIPPED.resolve())
