"""GLIP against outputs of the released code with random weights.

They lie in the folder that TELLSIGN_GLIP_FIXTURES names, else in ../shared/glip/fixtures beside the checkout:
VARIANT/{config.json, weights.safetensors, tokenizer/}, cases NAME.json with NAME.safetensors, preprocess.json,
preprocess_eval_pixels.safetensors, text_cases.json. Whatever is found there is compared, every tensor of it.
"""

import copy
import json
import os
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tellsign.networks.glip.detect import (
    Boxes,
    Rule,
    anchors,
    batch,
    candidates,
    cap,
    decode,
    normalise,
    padded_size,
    phrase_probabilities,
    resize,
    resized_size,
    suppress,
    to_original,
)
from tellsign.networks.glip.grounder import PRECISIONS, computing, load
from tellsign.networks.glip.head import Predictions, flatten, unflatten
from tellsign.networks.glip.model import GLIP_L, GlipConfig
from tellsign.networks.glip.text import WordPieces, demo_caption, evaluation_caption, noun_phrases, occurrences
from tellsign.networks.glip.weights import load_official

NAMED = os.environ.get("TELLSIGN_GLIP_FIXTURES")
FOLDER = Path(NAMED or Path(__file__).parents[2] / "shared" / "glip" / "fixtures")
if NAMED and not FOLDER.is_dir():
    raise FileNotFoundError(f"TELLSIGN_GLIP_FIXTURES={NAMED} is not a folder")

RELATIVE = 1e-5  # of a tensor's largest magnitude
CPU = torch.device("cpu")


def found(pattern: str) -> list:
    """Paths as test parameters; a skipped one that says why when there are none."""
    paths = sorted(FOLDER.glob(pattern))
    if pattern == "*.json":
        paths = [path for path in paths if path.with_suffix(".safetensors").is_file()]
    why = f"needs {pattern} in {FOLDER}, reference outputs of GLIP that are not part of this repository"
    return [pytest.param(path, id=path.stem) for path in paths] or [pytest.param(None, marks=pytest.mark.skip(why))]


CASES = found("*.json")


@cache
def case_of(path: Path) -> tuple[dict, dict]:
    """A case: its JSON and its tensors."""
    return json.loads(path.read_text()), load_file(path.with_suffix(".safetensors"))


@cache
def config_of(variant: str) -> GlipConfig:
    return GlipConfig.from_json(FOLDER / variant / "config.json")


@cache
def model_of(variant: str):
    return load_official(FOLDER / variant / "weights.safetensors", config_of(variant))


def tokenizer_of(variant: str) -> WordPieces:
    return WordPieces.load(FOLDER / variant / "tokenizer")


def spans_of(case: dict) -> tuple[str, list]:
    """Caption of a case, and the spans of each of its phrases."""
    text, entities = case.get("text", case.get("input")), case["entities"]
    if entities is None:
        caption, spans = demo_caption(text)
        return caption, [[span] for span in spans]
    bounds = [e["char_bounds"] if "char_bounds" in e else re.search(e["span"], text).span() for e in entities]
    return text, [[tuple(bound)] for bound in bounds]


def levels(name: str, values: list) -> dict:
    return {f"{name}.p{i}": value for i, value in enumerate(values, 3)}


@cache
def run(path: Path) -> tuple[dict, Predictions]:
    """Every tensor of a case but its detections by our code, from the picture and the caption."""
    case, reference = case_of(path)
    config, model = config_of(case["variant"]), model_of(case["variant"])
    out = {}
    watched = {"patches": model.swin.patch_embed, "stages": model.swin, "pyramid": model.fpn}
    texts = [model.bert.embeddings, *model.bert.encoder.layer]
    watched |= {f"bert.hidden_states.{i}": layer for i, layer in enumerate(texts)}
    watched |= dict(enumerate(model.head.dyhead_tower))
    hooks = [
        layer.register_forward_hook(lambda _, inputs, output, name=name: out.__setitem__(name, output))
        for name, layer in watched.items()
    ]
    picture = reference["image.uint8_bgr"].numpy()[..., ::-1]
    size = resized_size(*picture.shape[:2], case["min_size"], case.get("max_size"))
    out["image.uint8_bgr"] = reference["image.uint8_bgr"]
    out["image.normalized"] = normalise(resize(picture, *size), config.mean, config.std, CPU)
    out["image.batched"] = batch([out["image.normalized"]], config.divisor)
    ids = tokenizer_of(case["variant"])(case["caption"], config.max_tokens).ids
    padding = [0] * (config.max_tokens - len(ids))
    out["text.input_ids"] = torch.tensor([ids + padding])
    out["text.attention_mask"] = torch.tensor([[1] * len(ids) + padding])
    with torch.inference_mode():
        made = model(out["image.batched"], out["text.input_ids"], out["text.attention_mask"].bool())
    for hook in hooks:
        hook.remove()

    out["backbone.patch_embed"] = out.pop("patches").permute(0, 3, 1, 2)
    out |= {f"backbone.c{i}": stage for i, stage in enumerate(out.pop("stages"), 2)}
    out |= levels("fpn", out.pop("pyramid"))
    out["lang.hidden"] = out[f"bert.hidden_states.{config.bert.num_hidden_layers}"]
    out["lang.embedded"] = out["lang.hidden"] * out["text.attention_mask"][..., None]  # GLIP-T (A)'s text
    for block in range(config.blocks):
        places, out[f"head.block{block}.fuse.lang"] = out.pop(3 * block)
        out |= levels(f"head.block{block}.fuse.visual", unflatten(places, made.sizes))
        out[f"head.block{block}.bert.lang"] = out.pop(3 * block + 1)
        out |= levels(f"head.block{block}.dyconv.visual", out.pop(3 * block + 2))
    out |= levels("out.bbox_reg", unflatten(made.deltas, made.sizes))
    out |= levels("out.centerness", unflatten(made.centerness[..., None], made.sizes))
    counts = [height * width for height, width in made.sizes]
    out |= levels("out.dot_logits", made.logits.split(counts, 1))
    out |= levels("anchors", anchors(config.anchor_sizes, config.strides, made.sizes, CPU).split(counts))
    return out, made


def official(path: Path) -> Predictions:
    """The released head's own output."""
    case, reference = case_of(path)
    names = [f"p{i}" for i in range(3, 3 + len(config_of(case["variant"]).strides))]
    deltas = [reference[f"out.bbox_reg.{name}"] for name in names]
    return Predictions(
        torch.cat([reference[f"out.dot_logits.{name}"] for name in names], 1),
        flatten(deltas),
        flatten([reference[f"out.centerness.{name}"] for name in names])[..., 0],
        [tuple(delta.shape[2:]) for delta in deltas],
    )


def rule_of(setting: dict) -> Rule:
    return Rule(
        threshold=setting["score_thresh"],
        candidates=setting["pre_nms_top_n"],
        iou=setting["nms_iou"],
        detections=setting["max_dets"],
        aggregate=setting["score_agg"].lower(),
    )


def stages_of(path: Path, made: Predictions, setting: dict) -> tuple[Boxes, Boxes, Boxes]:
    """Candidates, survivors, and detections by a setting; labels as in the case."""
    case, _ = case_of(path)
    config = config_of(case["variant"])
    rule = rule_of(setting)
    labels = sorted(map(int, case["positive_map"]))
    squares = anchors(config.anchor_sizes, config.strides, made.sizes, CPU)
    phrases = [case["positive_map"][str(label)] for label in labels]
    before = candidates(made, 0, squares, phrases, tuple(case["resized_hw"]), rule)
    after = suppress(before, rule.iou, inclusive={"cuda": True, "cpu": False}[setting["nms_iou_convention"]])
    return tuple(
        boxes._replace(labels=torch.tensor(labels)[boxes.labels])
        for boxes in (before, after, cap(after, rule.detections))
    )


def boxes_of(reference: dict, name: str) -> Boxes:
    return Boxes(*(reference[f"{name}.{part}"] for part in Boxes._fields))


def unlike(ours: Boxes, theirs: Boxes, pixels: float, score: float) -> torch.Tensor:
    """Which pairs (ours, theirs) are not the same detection."""
    far = (ours.boxes[:, None] - theirs.boxes).abs().amax(2) > pixels
    return far | ((ours.scores[:, None] - theirs.scores).abs() > score) | (ours.labels[:, None] != theirs.labels)


def assert_same(ours: Boxes, theirs: Boxes, pixels: float, score: float, margin: float) -> None:
    """Equal in count, label and order.

    Where the case itself records a decision closer than rounding, order is left aside, and so are two detections and a
    hundredth of all.
    """
    wrong = unlike(ours, theirs, pixels, score)
    if len(ours.boxes) == len(theirs.boxes) and not wrong.diagonal().any():
        return
    lost = int(wrong.all(0).sum() + wrong.all(1).sum()) if wrong.numel() else wrong.shape[0] + wrong.shape[1]
    assert margin < 1e-5, f"{len(ours.boxes)} detections for {len(theirs.boxes)}, {lost} of them without their like"
    assert lost <= 2 + len(theirs.boxes) / 100


def margin_of(case: dict, name: str) -> float:
    """The closest decision of a setting; the other IoU convention's is not recorded, and about the default's."""
    margins = case["margins"].get(name, case["margins"].get("default", {}))
    return min((value for key, value in margins.items() if not key.startswith("n_")), default=1.0)


@pytest.mark.parametrize("path", CASES)
def test_every_intermediate(path):
    case, reference = case_of(path)
    ours, _ = run(path)
    worst = {}
    for name, theirs in reference.items():
        if name.startswith("det."):
            continue
        assert name in ours, f"nothing of ours is compared with {name}"
        assert ours[name].shape == theirs.shape, name
        worst[name] = float((ours[name] - theirs).abs().max() / theirs.abs().max())
    assert {name: error for name, error in worst.items() if not error <= RELATIVE} == {}
    assert list(ours["image.uint8_bgr"].shape[:2]) == case["image_hw"]
    assert list(ours["image.normalized"].shape[1:]) == case["resized_hw"]
    assert list(ours["image.batched"].shape[2:]) == case["padded_hw"]


@pytest.mark.parametrize("path", CASES)
def test_text_of_case(path):
    case, _ = case_of(path)
    limit = config_of(case["variant"]).max_tokens
    caption, spans = spans_of(case)
    assert caption == case["caption"]
    tokenizer = tokenizer_of(case["variant"])
    tokens = tokenizer(caption, limit)
    cut = [tokenizer.tokenizer.id_to_token(token) for token in tokens.ids]
    assert case["tokens"] in (cut, tokens.whole.tokens)
    assert case["n_tokens"] in (len(cut), len(tokens.whole))
    ours = {str(label): tokens.of(span, limit) for label, span in enumerate(spans, 1)}
    assert {k: v for k, v in ours.items() if v} == {k: v for k, v in case["positive_map"].items() if v}


@pytest.mark.parametrize("path", CASES)
@pytest.mark.parametrize("source", ["official", "ours"])
def test_detections(path, source):
    """From the released head's outputs, and from the picture on."""
    case, reference = case_of(path)
    made, pixels, score = (official(path), 1e-3, 1e-6) if source == "official" else (run(path)[1], 1e-2, 1e-4)
    compared = set()
    for name, setting in case["settings"].items():
        margin = margin_of(case, name)
        before, after, final = stages_of(path, made, setting)
        counts = case["margins"].get(name, {})
        slack = 0 if margin >= 1e-5 or source == "official" else 2
        assert abs(len(before.boxes) - counts.get("n_pre", len(before.boxes))) <= slack
        assert abs(len(after.boxes) - counts.get("n_kept", len(after.boxes))) <= slack
        assert abs(len(final.boxes) - case["counts"][name]) <= slack
        own = {f"det.{name}": final, f"det.{name}.pre_nms": before}
        if name == "default":
            sizes = tuple(case["resized_hw"]), tuple(case["image_hw"])
            own["det.demo_original_coords"] = final._replace(boxes=to_original(final.boxes, *sizes))
            for key in case["counts"]:
                if key.startswith("demo_post_process_"):
                    assert int((final.scores > float(key.rsplit("_", 1)[1])).sum()) == case["counts"][key]
        for key, boxes in own.items():
            if f"{key}.boxes" in reference:
                assert_same(boxes, boxes_of(reference, key), pixels, score, margin)
                compared |= {f"{key}.{part}" for part in Boxes._fields}
    assert {name for name in reference if name.startswith("det.")} - compared == set()


@pytest.mark.parametrize("path", CASES)
def test_grounder_gives_the_best_box_of_each_phrase(path):
    case, reference = case_of(path)
    caption, spans = spans_of(case)
    names = [caption[slice(*own[0])].lower() for own in spans]
    if [occurrences(name, caption) for name in names] != spans:
        pytest.skip("a phrase of this case stands elsewhere in its caption too")
    settings = {"name": "glip", "weights": str(FOLDER / case["variant"]), "grammar": "demo", "precision": "fp32"}
    sides = {"min_side": case["min_size"], "max_side": case.get("max_size", 10**6)}
    grounder = load({**settings, **sides, "aggregate": "mean"}, 1)
    grounder.rule = rule_of(case["settings"]["default"])
    picture = np.ascontiguousarray(reference["image.uint8_bgr"].numpy()[..., ::-1])
    (ours,) = grounder.ground([picture], [case["caption"]], [names])
    theirs = boxes_of(reference, "det.default")
    sizes = tuple(case["resized_hw"]), tuple(case["image_hw"])
    theirs = theirs._replace(boxes=to_original(theirs.boxes, *sizes))
    for label, grounding in enumerate(ours, 1):
        own = theirs.pick(theirs.labels == label)
        assert grounding.score == pytest.approx(float(own.scores[0]) if len(own.scores) else 0.0, abs=1e-4)
        assert list(grounding[:4]) == pytest.approx(own.boxes[0].tolist() if len(own.scores) else [0] * 4, abs=2e-2)


# what reduced precision may change: scores of all places by so much, corners of all boxes by so much of the anchor's
# side. Measured on a CPU: bf16 0.014 and 0.013, fp16 0.0015 and 0.0015
TOLERANCE = {"bf16": 0.05, "fp16": 0.005}


def assert_close(path: Path, made: Predictions, tolerance: float) -> None:
    """Scores and boxes of every place against those of float32 on the CPU, and the best box of every phrase."""
    case, _ = case_of(path)
    config, (_, exact) = config_of(case["variant"]), run(path)
    made = Predictions(*(part.cpu() for part in made[:3]), made.sizes)
    squares = anchors(config.anchor_sizes, config.strides, made.sizes, CPU)
    moved = (decode(made.deltas[0], squares) - decode(exact.deltas[0], squares)).abs().amax(1)
    assert float((moved / (squares[:, 2] - squares[:, 0] + 1)).max()) < tolerance
    phrases = list(case["positive_map"].values())
    scores = [
        (phrase_probabilities(p.logits[0], phrases, "mean") * p.centerness[0].sigmoid()[:, None]).sqrt()
        for p in (made, exact)
    ]
    assert float((scores[0] - scores[1]).abs().max()) < tolerance


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("path", CASES)
def test_reduced_precision(path, precision):
    case, _ = case_of(path)
    out, _ = run(path)
    with torch.inference_mode(), torch.autocast("cpu", PRECISIONS[precision]):
        made = model_of(case["variant"])(out["image.batched"], out["text.input_ids"], out["text.attention_mask"].bool())
    assert_close(path, made, TOLERANCE[precision])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", [*TOLERANCE, "fp32"])
@pytest.mark.parametrize("path", CASES)
def test_precision_on_cuda(path, precision):
    case, _ = case_of(path)
    cuda = torch.device("cuda")
    out, _ = run(path)
    inputs = [out[name].to(cuda) for name in ("image.batched", "text.input_ids", "text.attention_mask")]
    model = copy.deepcopy(model_of(case["variant"])).to(cuda)
    with torch.inference_mode(), computing(cuda, precision):
        made = model(*inputs[:2], inputs[2].bool())
    assert_close(path, made, TOLERANCE.get(precision, 1e-4))


@pytest.mark.parametrize("path", found("preprocess.json"))
def test_sizes(path):
    for row in json.loads(path.read_text())["sizes"]:
        for rule, longest in (("demo", None), ("eval", 1333)):
            size = resized_size(*row["input_hw"], 800, longest)
            assert list(size) == row[f"{rule}_resized_hw"]
            assert list(padded_size(*size, GLIP_L.divisor)) == row[f"{rule}_padded_hw"]


@pytest.mark.parametrize("path", found("preprocess.json"))
def test_pixels(path):
    example = json.loads(path.read_text())["eval_pixels"]
    tensors = load_file(FOLDER / example["file"])
    size = resized_size(*example["input_hw"], example["min_size"], example["max_size"])
    assert list(size) == example["resized_hw"]
    ours = normalise(resize(tensors.pop("image.uint8_rgb").numpy(), *size), GLIP_L.mean, GLIP_L.std, CPU)
    torch.testing.assert_close(ours, tensors.pop("image.normalized"), rtol=0, atol=1e-6)
    assert not tensors


def text_cases(path: Path) -> tuple[dict, WordPieces, int]:
    data = json.loads(path.read_text())
    variant = data.get("variant", min(folder.parent.name for folder in FOLDER.glob("*/config.json")))
    return data, tokenizer_of(variant), config_of(variant).max_tokens


@pytest.mark.parametrize("path", found("text_cases.json"))
def test_demo_texts(path):
    data, tokenizer, limit = text_cases(path)
    for case in data["demo"]:
        caption, spans = spans_of(case)
        assert (caption, [[list(span) for span in own] for own in spans]) == (case["caption"], case["char_spans"])
        tokens = tokenizer(caption, limit)
        assert tokens.whole.tokens == case["tokens"]
        assert tokens.ids == case["input_ids"][:limit]
        ours = {str(label): tokens.of(own, limit) for label, own in enumerate(spans, 1)}
        assert ours == case["positive_map"]
        counts = [len(own) for own in ours.values()]
        assert [n / (n + 1e-6) for n in counts] == pytest.approx(case["row_sums"], abs=1e-6)
        assert [1 / (n + 1e-6) for n in counts] == pytest.approx(case["row_max"], abs=1e-6)


@pytest.mark.parametrize("path", found("text_cases.json"))
def test_evaluation_texts(path):
    data, tokenizer, limit = text_cases(path)
    for case in data["evaluation"]:
        caption, spans = evaluation_caption(case["names"])
        assert caption == case["query"]
        tokens = tokenizer(caption, limit)
        ours = {str(label): tokens.of([span], limit) for label, span in zip(case["labels"], spans, strict=True)}
        assert ours == case["positive_map"]


@pytest.mark.parametrize("path", found("text_cases.json"))
def test_noun_phrases_of_tagged_words(path):
    data, _, _ = text_cases(path)
    for case in data["noun_phrases"]:
        phrases = noun_phrases([tuple(pair) for pair in case["tagged_tokens"]])
        assert phrases == case["entities"]
        every = [[list(span)] for phrase in phrases for span in occurrences(phrase, case["caption"])]
        assert every == case["char_spans"]
