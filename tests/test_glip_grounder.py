import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_glip_weights import TINY, config_json, tiny_state

from tellsign.errors import UserError
from tellsign.networks.glip.detect import anchors, detect
from tellsign.networks.glip.grounder import GRAMMARS, computing, load
from tellsign.networks.grounders.grounder import NOWHERE

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "a",
    "the",
    "red",
    "blue",
    "green",
    "ball",
    "dog",
    "cat",
    "circle",
    "square",
]
WORDS += ["square", "on", "and", "near", ".", "##s"]
SETTINGS = {
    "name": "glip",
    "grammar": "demo",
    "min_side": 64,
    "max_side": 100,
    "aggregate": "mean",
    "precision": "fp32",
}


@pytest.fixture
def folder(tmp_path):
    """A GLIP of random weights, as the name ``glip`` wants it."""
    (tmp_path / "config.json").write_text(json.dumps(config_json()))
    save_file(tiny_state(), tmp_path / "weights.safetensors")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.txt").write_text("\n".join(WORDS))
    return tmp_path


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_boxes_lie_in_the_image_whatever_the_batch(folder):
    """Three sizes, captions of three lengths, a phrase that stands twice: one by one, and together."""
    images = [picture(70, 90), picture(64, 64, 1), picture(140, 181, 2), picture(300, 20, 3)]
    captions = ["a red ball", "the dog and a dog near the cat", "A BLUE square on a green circle", "dogs"]
    phrases = [["a red ball"], ["dog", "the cat", "a dog"], ["a blue square"], ["dog"]]
    one = load({**SETTINGS, "weights": str(folder)}, 1)
    alone = [one.ground([i], [c], [p])[0] for i, c, p in zip(images, captions, phrases, strict=True)]
    together = load({**SETTINGS, "weights": str(folder)}, 3).ground(images, captions, phrases)
    for image, ours, theirs in zip(images, alone, together, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert 0 <= a.x0 <= a.x1 <= image.shape[1]
            assert 0 <= a.y0 <= a.y1 <= image.shape[0]
            assert 0.05 < a.score < 1
            assert list(a) == pytest.approx(list(b), rel=1e-3, abs=1e-2)


def test_a_phrase_that_stands_twice_has_the_better_box(folder):
    """And the name of a span stays with it: "cat", the third span, is not what the second name is given."""
    grounder = load({**SETTINGS, "weights": str(folder)}, 2)
    seen = []
    grounder.net.register_forward_hook(lambda _, inputs, output: seen.append(output))
    ((dog, cat),) = grounder.ground([picture(64, 64)], ["dog on dog near cat"], [["dog", "cat"]])
    squares = anchors(TINY.anchor_sizes, TINY.strides, seen[0].sizes, torch.device("cpu"))
    tokens = [[1], [3], [5]]
    found = detect(seen[0], 0, squares, tokens, (64, 64), grounder.rule)
    best = [found.pick(found.labels == label) for label in range(3)]
    assert dog.score == max(float(best[0].scores[0]), float(best[1].scores[0]))
    assert cat == (*best[2].boxes[0].tolist(), float(best[2].scores[0]))


def test_what_is_not_in_the_caption_is_nowhere(folder):
    grounder = load({**SETTINGS, "weights": str(folder)}, 2)
    image = picture(64, 64)
    assert grounder.ground([image, image], ["a dog", ""], [["cat", ""], ["dog"]]) == [[NOWHERE] * 2, [NOWHERE]]
    assert grounder.ground([image], ["a dog"], [[]]) == [[]]
    assert grounder.ground([], [], []) == []


def test_damaged_outputs_are_no_result(folder):
    grounder = load({**SETTINGS, "weights": str(folder)}, 2)
    grounder.net.head.bias0.fill_(float("nan"))
    with pytest.raises(UserError, match="bf16"):
        grounder.ground([picture(64, 64)], ["a dog"], [["dog"]])


def test_phrases_beyond_the_limit_are_nowhere(folder):
    """16 tokens: [CLS], the red ball, 12 further words or the end mark."""
    grounder = load({**SETTINGS, "weights": str(folder)}, 1)
    caption = "red ball " + "on " * 20 + "cat"
    ((ball, cat),) = grounder.ground([picture(64, 64)], [caption], [["red ball", "cat"]])
    assert ball.score > 0
    assert cat == NOWHERE


def test_letters_that_grow_in_lower_case_shift_nothing(folder):
    """İ becomes two characters; places are those of the lower-cased caption."""
    grounder = load({**SETTINGS, "weights": str(folder)}, 1)
    ((dog,),) = grounder.ground([picture(64, 64)], ["İİİİ dog"], [["dog"]])
    ((same,),) = grounder.ground([picture(64, 64)], ["iiii dog"], [["dog"]])
    assert dog == same
    assert dog.score > 0


def test_channels_are_red_green_blue(folder):
    """The network subtracts its mean of blue from the last channel: a picture of that mean is all zeros inside."""
    grounder = load({**SETTINGS, "weights": str(folder)}, 1)
    seen = []
    grounder.net.swin.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    grounder.ground([np.full((64, 64, 3), (124, 116, 104), np.uint8)], ["a dog"], [["dog"]])
    assert seen[0].shape == (1, 3, 64, 64)
    assert float(seen[0].abs().max()) < 0.01


def test_grammars(folder):
    grounder = load({**SETTINGS, "weights": str(folder)}, 1)
    assert grounder.phrases("A red circle and a blue square near a red circle") == ["red circle", "blue square"]
    assert set(GRAMMARS) == {"nltk", "demo"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "glip-x"}, "glip-l"),
        ({"grammar": "spacy"}, "nltk"),
        ({"aggregate": "sum"}, "mean"),
        ({"precision": "fp8"}, "bf16"),
        ({"weights": "/nowhere"}, "/nowhere"),
    ],
)
def test_unknown_settings(folder, change, said):
    with pytest.raises(UserError, match=said):
        load({**SETTINGS, "weights": str(folder), "tokenizer": {"weights": str(folder / "tokenizer")}, **change}, 1)


def test_another_models_tokenizer(folder):
    more = [f"w{i}" for i in range(TINY.bert.vocab_size)]
    (folder / "tokenizer" / "vocab.txt").write_text("\n".join(WORDS + more))
    with pytest.raises(UserError, match="another model"):
        load({**SETTINGS, "weights": str(folder)}, 1)


def test_a_cpu_computes_float32():
    with computing(torch.device("cpu"), "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_cuda_finds_the_same(folder, precision):
    """Scores; of random weights the best box is one among equals, and may change."""
    images, captions = [picture(70, 90), picture(140, 181, 2)], ["a red ball", "a dog near the cat"]
    phrases = [["a red ball"], ["a dog", "the cat"]]
    here = load({**SETTINGS, "weights": str(folder)}, 2).ground(images, captions, phrases)
    grounder = load({**SETTINGS, "weights": str(folder), "precision": precision}, 2).to("cuda")
    for ours, theirs in zip(grounder.ground(images, captions, phrases), here, strict=True):
        assert [a.score for a in ours] == pytest.approx([b.score for b in theirs], abs=0.03)
    assert torch.backends.cuda.matmul.fp32_precision == "none"
