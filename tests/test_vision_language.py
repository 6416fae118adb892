import json
import re
import shutil
import socket

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tellsign.errors import UserError
from tellsign.networks.vision_language import load, rounded

FAMILIES = sorted(tiny_models.SNAPSHOTS)
PROMPT = "Please generate a one-sentence caption for the input image."


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in tiny_models.SNAPSHOTS.items()}


@pytest.fixture
def copy(snapshots, tmp_path):
    """A snapshot to be spoilt."""
    return lambda name: shutil.copytree(snapshots[name], tmp_path / name)


@pytest.fixture(scope="module")
def images():
    draw = np.random.default_rng(5)
    sizes = draw.integers(9, 60, (7, 2))
    return [
        np.clip(draw.integers(0, 256, (1, 1, 3)) + draw.integers(-60, 60, (h, w, 3)), 0, 255).astype(np.uint8)
        for h, w in sizes.tolist()
    ]


def settings(folder, name, **changes):
    plain = {"name": name, "weights": str(folder), "digest": "", "beams": 5, "max_new_tokens": 12, "min_new_tokens": 0}
    return plain | {"prompt": PROMPT if name == "llava" else "", "precision": "fp32"} | changes


def captioner(folder, name, batch_size=3, **changes):
    return load(settings(folder, name, **changes), batch_size)


def library(folder, name):
    """Model and processor as transformers' own documentation loads them."""
    import transformers

    model = {"blip2": "Blip2", "blip": "Blip", "llava": "Llava"}[name] + "ForConditionalGeneration"
    processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
    return getattr(transformers, model).from_pretrained(folder).eval(), processor


def edit(path, **changes):
    """Set or, with None, drop fields of a JSON file."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@torch.no_grad()
def greedy(model, processor, image, name, count):
    """The likeliest token, one after another, each by a forward pass over everything before it."""
    picture = Image.fromarray(image)
    pixels = processor.image_processor(picture, return_tensors="pt")["pixel_values"]
    text = model.config.text_config
    if name == "blip2":
        start, end = [model.config.image_token_index] * model.config.num_query_tokens + [text.bos_token_id], "Ċ"
    elif name == "blip":
        start, end = [text.bos_token_id], "[SEP]"
    else:
        asked = f"USER: <image>\n{PROMPT} ASSISTANT:"
        start, end = list(processor(images=picture, text=asked)["input_ids"][0]), "</s>"
    end = processor.tokenizer.convert_tokens_to_ids(end)
    tokens = list(start)
    while len(tokens) - len(start) < count and tokens[-1] != end:
        logits = model(pixel_values=pixels, input_ids=torch.tensor([tokens]), use_cache=False).logits
        tokens.append(int(logits[0, -1].argmax()))
    return processor.tokenizer.decode(tokens[len(start) :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_captions_are_the_likeliest_tokens_one_by_one(snapshots, images, name):
    model, processor = library(snapshots[name], name)
    wanted = [greedy(model, processor, image, name, 12) for image in images]
    assert captioner(snapshots[name], name, beams=1).caption(images) == wanted
    assert len(set(wanted)) > 2  # the captions do depend on the images


@pytest.mark.parametrize("name", FAMILIES)
def test_five_beams_are_the_librarys_on_one_image(snapshots, images, name):
    model, processor = library(snapshots[name], name)
    text = {"text": f"USER: <image>\n{PROMPT} ASSISTANT:"} if name == "llava" else {}
    wanted = []
    for image in images:
        given = processor(images=Image.fromarray(image), return_tensors="pt", **text)
        written = model.generate(**given, num_beams=5, max_new_tokens=12, do_sample=False, length_penalty=1.0)
        before = given["input_ids"].shape[1] if name == "llava" else 0
        wanted.append(processor.batch_decode(written[:, before:], skip_special_tokens=True)[0].strip())
    assert captioner(snapshots[name], name).caption(images) == wanted
    assert wanted != captioner(snapshots[name], name, beams=1).caption(images)


@pytest.mark.parametrize("beams", [1, 5])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_caption_depends_on_its_image_alone(snapshots, images, name, beams):
    together = captioner(snapshots[name], name, 4, beams=beams)
    single = captioner(snapshots[name], name, 1, beams=beams)
    wanted = [single.caption([image])[0] for image in images]
    assert together.caption(images) == wanted
    assert together.caption(images[::-1]) == wanted[::-1]
    assert together.caption([images[3]] * 3 + [images[0]]) == [wanted[3]] * 3 + [wanted[0]]
    assert together.caption([]) == []


def test_every_chunk_has_the_same_size(snapshots, images, monkeypatch):
    made = captioner(snapshots["blip2"], "blip2", 3)
    generate, sizes = made.writer().generate, []

    def watched(**given):
        sizes.append(len(given["input_ids"]))
        return generate(**given)

    monkeypatch.setattr(made.writer(), "generate", watched)
    assert len(made.caption(images)) == 7
    assert sizes == [3, 3, 3]


@pytest.mark.parametrize("name", ["blip2", "blip"])
def test_images_are_resized_as_pil_does_and_normalised_as_clip(snapshots, images, name):
    made = captioner(snapshots[name], name, 1)
    (pixels,) = made._chunks(images[:1])
    side = (tiny_models.SIDE, tiny_models.SIDE)
    resized = np.asarray(Image.fromarray(images[0]).resize(side, Image.Resampling.BICUBIC)) / 255
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    wanted = torch.from_numpy((resized - mean) / deviation).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(pixels, wanted, atol=1e-6, rtol=1e-6)


def with_end_bias(folder, bias, **changes):
    """BLIP whose decoder ends at once, or never."""
    made = captioner(folder, "blip", **changes)
    head = made.model.text_decoder.cls.predictions
    head.decoder.bias.data[made.ends] = bias
    return made


@pytest.mark.parametrize("beams", [1, 5])
def test_length_of_captions(snapshots, images, beams):
    folder = snapshots["blip"]
    assert with_end_bias(folder, 99.0, beams=beams).caption(images) == [""] * 7
    for text in with_end_bias(folder, 99.0, beams=beams, min_new_tokens=3).caption(images):
        assert len(text.split()) == 3
    for text in with_end_bias(folder, -99.0, beams=beams, max_new_tokens=6).caption(images):
        assert len(text.split()) == 6


def test_white_space_alone_is_an_empty_caption(snapshots, images, monkeypatch):
    made = captioner(snapshots["blip2"], "blip2", 7)
    place = made.processor.tokenizer.convert_tokens_to_ids("Ġ")
    written = torch.tensor([[*made.prompt[0].tolist(), place, place, made.ends[0], 9]]).repeat(7, 1)
    monkeypatch.setattr(made.writer(), "generate", lambda **_: written)
    assert made.caption(images) == [""] * 7


def test_the_recipe_decides_and_not_the_snapshots_generation_settings(copy, images):
    for name in FAMILIES:
        folder = copy(name)
        wanted = captioner(folder, name).caption(images)
        edit(
            folder / "generation_config.json",
            **{"max_length": 3, "num_beams": 2, "repetition_penalty": 9.0, "no_repeat_ngram_size": 1},
            **{"length_penalty": -3.0, "early_stopping": True, "min_length": 9, "suppress_tokens": list(range(5, 60))},
        )
        assert captioner(folder, name).caption(images) == wanted


def test_the_prompt_is_one_turn_with_the_image_first(snapshots, images):
    made = captioner(snapshots["llava"], "llava")
    tokens = made.prompt[0]
    assert int((tokens == made.model.config.image_token_index).sum()) == (tiny_models.SIDE // tiny_models.PATCH) ** 2
    read = re.sub(r"(<image>)+", "<image>", made.processor.tokenizer.decode(tokens))
    assert read.replace(" ", "") == f"<s>USER:<image>\n{PROMPT}ASSISTANT:".replace(" ", "")
    other = captioner(snapshots["llava"], "llava", prompt="a red ring")
    assert other.caption(images) != made.caption(images)


def test_a_chat_template_of_the_snapshot_is_followed(tmp_path):
    made = captioner(tiny_models.llava(tmp_path, template=True), "llava", prompt="a red ring")
    assert made.processor.tokenizer.decode(made.prompt[0]).endswith("<image>a red ring assistant:")


def test_places_for_the_image_are_the_processors(snapshots, images):
    folder = snapshots["blip2"]
    _, processor = library(folder, "blip2")
    wanted = processor(images=Image.fromarray(images[0]), text="", return_tensors="pt")["input_ids"]
    # the tokenizer's token of beginning is LAVIS's; the tiny one adds none to an empty text
    places = captioner(folder, "blip2").prompt
    assert places[:, :4].tolist() == wanted[:, :4].tolist()
    assert places[:, 4:].tolist() == [[processor.tokenizer.bos_token_id]]


def test_a_snapshot_from_before_image_tokens_gives_the_same_captions(copy, images):
    folder = copy("blip2")
    wanted = captioner(folder, "blip2").caption(images)
    parts = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(
        json.dumps(parts["image_processor"] | {"processor_class": "Blip2Processor"})
    )
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["content"] != "<image>"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    edit(folder / "config.json", image_token_index=None)
    made = captioner(folder, "blip2")
    assert made.caption(images) == wanted
    assert made.prompt[0, 0] == len(made.processor.tokenizer) - 1


def test_a_llava_snapshot_whose_processor_does_not_know_the_patches(copy, images):
    folder = copy("llava")
    wanted = captioner(folder, "llava").caption(images)
    edit(
        folder / "processor_config.json",
        patch_size=None,
        vision_feature_select_strategy=None,
        num_additional_image_tokens=None,
    )
    assert captioner(folder, "llava").caption(images) == wanted


def test_files_of_different_revisions_are_told(copy, images):
    folder = copy("blip2")
    edit(folder / "config.json", image_token_index=2)  # the token of beginning as well
    with pytest.raises(UserError, match="different revisions"):
        captioner(folder, "blip2").caption(images)


def old_blip2(tensors):
    tensors["language_model.lm_head.weight"] = tensors["language_model.model.decoder.embed_tokens.weight"].clone()


def old_blip(tensors):
    words = tensors["text_decoder.bert.embeddings.word_embeddings.weight"]
    tensors["text_decoder.cls.predictions.decoder.weight"] = words.clone()
    tensors["text_decoder.cls.predictions.decoder.bias"] = tensors["text_decoder.cls.predictions.bias"].clone()
    tensors["text_decoder.bert.embeddings.position_ids"] = torch.arange(64)[None]


def old_llava(tensors):
    for name in [name for name in tensors if name.startswith("vision_tower.")]:
        tensors[name.replace("vision_tower.", "vision_tower.vision_model.")] = tensors.pop(name)
    tensors["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    tensors["language_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)


@pytest.mark.parametrize("name, old", [("blip2", old_blip2), ("blip", old_blip), ("llava", old_llava)])
def test_the_hubs_older_names_and_harmless_extras_are_read(copy, images, name, old):
    folder = copy(name)
    wanted = captioner(folder, name).caption(images)
    change_tensors(folder, old)
    assert captioner(folder, name).caption(images) == wanted


def test_a_bin_file_is_read_without_running_it(copy, images, tmp_path):
    folder = copy("blip")
    wanted = captioner(folder, "blip").caption(images)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert captioner(folder, "blip").caption(images) == wanted

    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    torch.save(tensors | {"harm": Harm()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be read"):
        captioner(folder, "blip")
    assert not (tmp_path / "harm").exists()


def drop(file):
    return lambda folder: (folder / file).unlink()


def split(folder):
    """A sharded snapshot of which one shard did not arrive."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    places = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


PROJECTION = "language_projection.weight"
SPOILT = {
    "no config": (drop("config.json"), "has no config.json"),
    "no weights": (drop("model.safetensors"), "no weights .*model.safetensors.*weights --fetch"),
    "no preprocessor": (drop("processor_config.json"), "no preprocessor_config.json"),
    "no tokenizer": (drop("tokenizer.json"), "no tokenizer .tokenizer.json or vocab.json with merges.txt"),
    "no shard": (split, "lacks model-00002-of-00002.safetensors"),
    "broken config": (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read as JSON"),
    "odd config": (
        lambda folder: edit(folder / "config.json", num_query_tokens="four"),
        "cannot be read as a snapshot",
    ),
    "cut weights": (cut, "cannot be read as a snapshot of blip2"),
    "missing tensor": (
        lambda folder: change_tensors(folder, lambda tensors: tensors.pop(PROJECTION)),
        f"1 missing: {PROJECTION}",
    ),
    "extra tensor": (
        lambda folder: change_tensors(folder, lambda tensors: tensors.update(adapter=torch.zeros(1))),
        "1 left over: adapter",
    ),
    "misshapen tensor": (
        lambda folder: change_tensors(folder, lambda tensors: tensors.update({PROJECTION: torch.zeros(16, 9)})),
        r"1 misshapen: language_projection.weight \(16, 9\) instead of \(16, 16\)",
    ),
    "no end": (lambda folder: change_text(folder, eos_token_id=None), "no token that ends"),
    "no room": (lambda folder: edit(folder / "config.json", image_token_index=999), "no row for the image's token 999"),
}


def change_text(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    edit(folder / "config.json", text_config=config["text_config"] | changes)


@pytest.mark.parametrize("spoilt", SPOILT)
def test_spoilt_snapshots_are_refused(copy, spoilt):
    spoil, message = SPOILT[spoilt]
    folder = copy("blip2")
    spoil(folder)
    with pytest.raises(UserError, match=message):
        captioner(folder, "blip2")


def test_what_is_asked_for_must_fit(snapshots, tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*weights of blip2.*tellsign weights --fetch"):
        captioner(tmp_path / "nowhere", "blip2")
    with pytest.raises(UserError, match="model of type 'blip'; blip2 needs 'blip-2'"):
        captioner(snapshots["blip"], "blip2")
    with pytest.raises(UserError, match="captions without a prompt; 'a photo of'"):
        captioner(snapshots["blip"], "blip", prompt="a photo of")
    with pytest.raises(UserError, match="unknown precision 'fp8'"):
        captioner(snapshots["blip"], "blip", precision="fp8")
    with pytest.raises(UserError, match="Did you mean 'blip2'"):
        captioner(snapshots["blip2"], "blip22")


def test_nothing_reaches_the_network(snapshots, images, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in FAMILIES:
        assert len(captioner(snapshots[name], name).caption(images)) == 7


def test_a_cpu_computes_in_single_precision(snapshots, images):
    half = captioner(snapshots["llava"], "llava", precision="bf16").to("cpu")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    assert half.caption(images) == captioner(snapshots["llava"], "llava").caption(images)


def held_in(made, precision):
    """Whether the weights have a precision and the Q-Former's are single."""
    former = {part: set() for part in (True, False)}
    for name, parameter in made.model.named_parameters():
        former["qformer" in name or "query_tokens" in name].add(parameter.dtype)
    return former[False] == {precision} and former[True] <= {torch.float32}


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", FAMILIES)
def test_rounded_weights_write_captions(snapshots, images, name, precision):
    made = captioner(snapshots[name], name)
    tables = {key: table.dtype for key, table in made.model.named_buffers()}
    rounded(made.model, torch.device("cpu"), precision)
    assert held_in(made, precision)
    assert {key: table.dtype for key, table in made.model.named_buffers()} == tables
    captions = made.caption(images)
    assert len(set(captions)) > 2
    assert captions == made.caption(images)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_cuda_takes_the_recipes_precision(snapshots, images, name, precision):
    made = captioner(snapshots[name], name, precision=precision).to(torch.device("cuda"))
    assert held_in(made, {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision])
    captions = made.caption(images)
    assert captions == made.caption(images)
    if precision == "fp32":
        assert captions == captioner(snapshots[name], name).caption(images)
