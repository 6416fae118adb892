"""The stages caption, ground and embed: what they write, and what they do not make twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tellsign.data.features import Features
from tellsign.demo.camera import camera
from tellsign.demo.captioner import DemoCaptioner
from tellsign.demo.grounder import DemoGrounder
from tellsign.demo.scenes import scene
from tellsign.errors import UserError
from tellsign.networks import embedding
from tellsign.networks.backbones.loading import load_clip
from tellsign.stages import caption, embed, ground
from tellsign.system.parquet import read_rows, write_rows

MADE = {"by": "test"}
CAPTION = {"captioner": {"name": "demo", "weights": "shipped"}, "made": MADE}
GROUND = {"grounder": {"name": "demo", "weights": "shipped"}, "threshold": 0.3, "made": MADE}
EMBED = {"clip": {"name": "demo-clip-rn", "weights": "shipped"}, "made": MADE}


def packed(folder: Path, numbers: range) -> Path:
    """Whole photographs as the crops stage leaves them; the same number is the same image."""
    images = []
    for i in numbers:
        generator = np.random.default_rng([9, i])
        images.append(camera(scene(generator, 96 + 8 * (i % 3))[0], generator))
    folder.mkdir()
    np.save(folder / "pixels.npy", np.concatenate([image.reshape(-1, 3) for image in images]))
    sizes = np.array([image.shape[:2] for image in images])
    offsets = np.concatenate([[0], np.cumsum(sizes.prod(1))[:-1]])
    columns = {"id": [f"image{i}" for i in numbers], "height": sizes[:, 0], "width": sizes[:, 1], "offset": offsets}
    write_rows(folder / "images.parquet", columns)
    return folder


def annotated(folder: Path, numbers: range, store: str = "store", threshold: float = 0.3) -> Path:
    """All three stages for some images; the stores lie beside."""
    folder.mkdir()
    crops, at = packed(folder / "crops", numbers), folder.parent / store
    captions, boxes = folder / "captions.parquet", folder / "boxes.parquet"
    caption.main(settings=CAPTION, crops=crops, store=at / "c", out=captions, device="cpu", shard_size=4)
    settings = GROUND | {"threshold": threshold}
    ground.main(settings=settings, crops=crops, caption=captions, store=at / "g", out=boxes, device="cpu", shard_size=4)
    inputs = {"crops": crops, "caption": captions, "ground": boxes, "store": at / "e"}
    embed.main(settings=EMBED, **inputs, out=folder / "features", device="cpu", batch_size=8, shard_size=5)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = ("captions.parquet", "boxes.parquet", "features/features.safetensors", "features/images.parquet")
    return {name: (folder / name).read_bytes() for name in files}


@pytest.fixture
def calls(monkeypatch):
    """How many images the captioner and the grounder see, and how many crops and texts CLIP."""
    seen = {"caption": 0, "ground": 0, "pixels": 0, "texts": 0}

    def counting(owner, name, key, position):
        real = getattr(owner, name)

        def counted(*args):
            seen[key] += len(args[position])
            return real(*args)

        monkeypatch.setattr(owner, name, counted)

    counting(DemoCaptioner, "caption", "caption", 1)
    counting(DemoGrounder, "ground", "ground", 1)
    counting(embedding, "embed_pixels", "pixels", 1)
    counting(embedding, "embed_texts", "texts", 1)
    return seen


def test_a_grown_split_costs_what_is_new_and_gives_the_same_bytes(tmp_path, calls):
    annotated(tmp_path / "small", range(5))
    calls.update(dict.fromkeys(calls, 0))
    grown = annotated(tmp_path / "grown", range(8))
    assert (calls["caption"], calls["ground"]) == (3, 3)
    fresh = annotated(tmp_path / "fresh", range(8), store="another")
    assert contents(grown) == contents(fresh)


def test_jobs_that_share_the_work_fill_the_store_with_the_very_shards_of_one(tmp_path, calls, monkeypatch):
    one = annotated(tmp_path / "one", range(10), store="alone")
    (several := tmp_path / "several").mkdir()
    crops, at = packed(several / "crops", range(10)), tmp_path / "shared"
    seen, boxes_of = [], {"settings": GROUND, "caption": one / "captions.parquet"}
    for stage, flags, file in ((caption, {"settings": CAPTION}, "captions"), (ground, boxes_of, "boxes")):
        calls.update(dict.fromkeys(calls, 0))
        name = stage.__name__.rpartition(".")[2]
        given = flags | {"crops": crops, "store": at / name[0], "device": "cpu", "shard_size": 4}
        for part in ("3/3", "1/3", "2/3"):
            stage.main(**given, part=part, out=several / f"{name}-{part[0]}")
        seen += [set(read_rows(several / f"{name}-{part}")["id"].to_pylist()) for part in (1, 2, 3)]
        assert calls[name] == 10
        monkeypatch.setattr(stage, f"load_{name}er", lambda *_: pytest.fail("loaded"))
        stage.main(**given, out=several / name)
        assert (several / name).read_bytes() == (one / f"{file}.parquet").read_bytes()
        assert sorted(p.name for p in (at / name[0]).glob("*.parquet")) == sorted(
            p.name for p in (tmp_path / "alone" / name[0]).glob("*.parquet")
        )
    assert seen[0] == {f"image{i}" for i in range(4)} and seen[2] == {"image8", "image9"}
    assert seen[3] | seen[4] | seen[5] == {f"image{i}" for i in range(10)}


def test_everything_known_nothing_is_loaded_or_made(tmp_path, calls, monkeypatch):
    annotated(tmp_path / "one", range(4))
    calls.update(dict.fromkeys(calls, 0))
    for stage, name in ((caption, "load_captioner"), (ground, "load_grounder")):
        monkeypatch.setattr(stage, name, lambda *_: pytest.fail("loaded"))
    two = annotated(tmp_path / "two", range(4))
    assert not any(calls.values()) and contents(two) == contents(tmp_path / "one")


def test_features_belong_to_their_images_and_phrases(tmp_path):
    folder = annotated(tmp_path / "a", range(6))
    boxes = read_rows(folder / "boxes.parquet").to_pydict()
    features = Features.load(folder / "features")
    found = [i for i, f in enumerate(boxes["found"]) if f]
    assert features.ids == tuple(f"image{i}" for i in range(6)) and len(found) > 3
    assert [features.ids[row] for row in features.object_row] == [boxes["id"][i] for i in found]
    clip = load_clip("demo-clip-rn", "shipped", 0).eval()
    alone = embedding.embed_texts(clip, [boxes["phrase"][found[-1]]], 1)[0]
    assert np.allclose(features.object_text[-1], alone, atol=1e-4)
    assert features.text.shape == features.image.shape == (6, clip.image.dim)


def test_empty_captions_and_images_without_objects_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(
        DemoCaptioner, "caption", lambda self, images: ["" if i % 2 else "a red" for i in range(len(images))]
    )
    folder = annotated(tmp_path / "a", range(4))
    assert read_rows(folder / "captions.parquet")["caption"].to_pylist().count("") == 2
    facts = json.loads((folder / "features" / "provenance.json").read_text())
    assert facts["empty_captions"] == 2 and facts["images_without_object"] == 4


def test_the_threshold_costs_no_grounding(tmp_path, calls):
    low = annotated(tmp_path / "low", range(4), threshold=0.0)
    calls.update(dict.fromkeys(calls, 0))
    high = annotated(tmp_path / "high", range(4), threshold=1.0)
    assert calls["ground"] == 0
    found = [sum(read_rows(folder / "boxes.parquet")["found"].to_pylist()) for folder in (low, high)]
    assert found[0] > 0 == found[1]


def test_an_image_without_phrases_is_known_to_have_none(tmp_path, calls, monkeypatch):
    monkeypatch.setattr(DemoGrounder, "phrases", lambda *_: [])
    first = annotated(tmp_path / "one", range(3))
    assert calls["ground"] == 3 and read_rows(first / "boxes.parquet").num_rows == 0
    annotated(tmp_path / "two", range(3))
    assert calls["ground"] == 3
    assert Features.load(first / "features").object_image.shape[0] == 0


def test_a_cache_of_another_model_revision_or_decoding_is_refused_by_name(tmp_path):
    crops = packed(tmp_path / "crops", range(2))
    made = {"captioner": {"name": "blip2", "digest": "aa", "beams": 5}}
    inputs = {"crops": crops, "store": tmp_path / "store", "out": tmp_path / "out.parquet", "device": "cpu"}
    caption.main(settings=CAPTION | {"made": made}, **inputs)
    for change in ({"name": "blip"}, {"digest": "bb"}, {"beams": 1}):
        other = json.loads(json.dumps(made))
        other["captioner"] |= change
        with pytest.raises(UserError, match=rf"captioner\.{next(iter(change))} is .*, not"):
            caption.main(settings=CAPTION | {"made": other}, **inputs)


def test_a_missing_caption_is_named(tmp_path):
    crops = packed(tmp_path / "crops", range(2))
    write_rows(tmp_path / "captions", {"id": ["image0"], "caption": ["a red circle"]})
    with pytest.raises(UserError, match="1 of 2 images have no caption, the first is image1"):
        ground.main(
            settings=GROUND, crops=crops, caption=tmp_path / "captions", store=tmp_path / "s", out=tmp_path / "o"
        )
