from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tellsign.demo.scenes import (
    BACKGROUND_COLOURS,
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    Scene,
    SceneObject,
    caption,
    noise_bank,
    scene,
)
from tellsign.demo.web import jpeg_bytes, png_bytes, rescale
from tellsign.errors import UserError
from tellsign.stages.demo_photos import PHOTO_SETS, main
from tellsign.system.parquet import read_rows


def made(colour: str, shape: str, x: float, y: float) -> SceneObject:
    return SceneObject(colour, shape, (x, y), 0.15, (x - 0.15, y - 0.15, x + 0.15, y + 0.15))


def test_caption_says_objects_relation_and_background():
    first, second, third = (
        made("red", "circle", 0.2, 0.5),
        made("orange", "ring", 0.7, 0.6),
        made("green", "cross", 0, 0),
    )
    pink = Scene("striped", "pink", (first, second, third))
    assert caption(pink) == "a red circle left of an orange ring and a green cross on a pink striped background"
    assert caption(Scene("leafy", "olive", (first,))) == "a red circle on an olive leafy background"
    upright = Scene("plain", "gray", (made("red", "circle", 0.5, 0.2), made("blue", "ring", 0.6, 0.7)))
    assert caption(upright) == "a red circle above a blue ring on a gray plain background"
    swapped = Scene("plain", "gray", (upright.objects[1], upright.objects[0]))
    assert caption(swapped) == "a blue ring below a red circle on a gray plain background"


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), side=st.integers(48, 384))
def test_scene_keeps_its_promises(seed: int, side: int):
    image, truth = scene(np.random.default_rng(seed), side)
    assert image.shape == (side, side, 3) and image.dtype == np.float32
    assert image.min() >= 0.005 and image.max() <= 1
    assert truth.background in BACKGROUNDS and truth.background_colour in BACKGROUND_COLOURS
    assert 1 <= len(truth.objects) <= 3
    assert len({item.phrase for item in truth.objects}) == len(truth.objects)
    radii = [item.radius for item in truth.objects]
    assert radii == sorted(radii, reverse=True)
    for item in truth.objects:
        assert item.colour in COLOURS and item.shape in SHAPES
        x0, y0, x1, y1 = item.box
        assert 0 <= x0 < item.centre[0] < x1 <= 1 and 0 <= y0 < item.centre[1] < y1 <= 1
    again, same = scene(np.random.default_rng(seed), side)
    assert same == truth and (again == image).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_box_is_the_shape_that_is_painted(shape: str):
    from tellsign.demo import scenes

    side, radius = 200, 0.2
    left, top, right, bottom = (radius * extent for extent in SHAPES[shape])
    item = SceneObject("white", shape, (0.5, 0.5), radius, (0.5 - left, 0.5 - top, 0.5 + right, 0.5 + bottom))
    image = np.full((side, side, 3), 0.1, np.float32)  # shadows only darken it
    scenes._paint(np.random.default_rng(0), image, item)
    rows, columns = np.nonzero(image[..., 0] > 0.3)
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / side
    np.testing.assert_allclose(found, item.box, atol=2.5 / side)


def test_noise_bank_falls_like_its_exponents():
    bank = noise_bank()
    assert noise_bank() is bank
    np.testing.assert_allclose(bank.std((1, 2)), 1, rtol=1e-4)
    power = np.abs(np.fft.rfft2(bank)) ** 2
    frequency = np.hypot(np.fft.fftfreq(384)[:, None], np.fft.rfftfreq(384)[None])
    inside = (frequency > 0.02) & (frequency < 0.4)
    for row, exponent in enumerate((0.8, 1.0, 1.2, 1.4)):
        slope = np.polyfit(np.log(frequency[inside]), np.log(power[row][inside]), 1)[0]
        assert slope == pytest.approx(-2 * exponent, abs=0.05)


def test_unfit_side_is_refused():
    with pytest.raises(UserError, match="48 to 384"):
        scene(np.random.default_rng(0), 400)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), height=st.integers(16, 90), width=st.integers(16, 90))
def test_rescale_stays_in_range_and_on_the_grid(seed: int, height: int, width: int):
    pixels = np.zeros((height, width, 3), np.uint8)
    out, (full_height, full_width) = rescale(pixels, np.random.default_rng(seed))
    assert 0.75 * height - 1 <= full_height <= 1.4 * height + 1
    assert abs(full_width / width - full_height / height) <= 0.5 / width + 0.5 / height
    assert out.shape == (full_height // 8 * 8, full_width // 8 * 8, 3)


def test_png_is_lossless_and_jpeg_has_its_quality():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(png_bytes(pixels)))) == pixels).all()
    stream, reference = io.BytesIO(), Image.new("RGB", (8, 8))
    reference.save(stream, "JPEG", quality=88)
    tables = Image.open(io.BytesIO(stream.getvalue())).quantization  # pyright: ignore[reportAttributeAccessIssue]
    assert Image.open(io.BytesIO(jpeg_bytes(pixels, 88))).quantization == tables  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("part", PHOTO_SETS)
def test_photos_are_named_by_a_counter_and_described(part: str, tmp_path):
    main(settings={"part": part, "count": 3, "side": 64, "seed": 1}, out=tmp_path / "a")
    rows = read_rows(tmp_path / "a" / "scenes.parquet").to_pylist()
    files = sorted(p.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("0000*"))
    assert files == [row["file"] for row in rows]
    assert [file.rpartition("/")[2].partition(".")[0] for file in files] == ["00000", "00001", "00002"]
    for row in rows:
        with Image.open(tmp_path / "a" / row["file"]) as image:
            assert image.size == (row["width"], row["height"])
            assert image.format == ("JPEG" if PHOTO_SETS[part].jpeg else "PNG")
            assert not PHOTO_SETS[part].web or (image.width % 8 == 0 and image.height % 8 == 0)
        assert all(phrase in row["caption"] for phrase in row["phrases"])
        for x0, y0, x1, y1 in zip(row["x0"], row["y0"], row["x1"], row["y1"], strict=True):
            assert 0 <= x0 < x1 <= row["width"] and 0 <= y0 < y1 <= row["height"]


def test_same_settings_same_bytes_and_other_settings_other_pictures(tmp_path):
    base = {"part": "train", "count": 2, "side": 64, "seed": 1}
    wanted = {"a": base, "b": base, "seed": base | {"seed": 2}, "part": base | {"part": "test"}}
    made = {}
    for name, chosen in wanted.items():
        main(settings=chosen, out=tmp_path / name)
        made[name] = [path.read_bytes() for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]
    assert made["a"] == made["b"]
    assert made["seed"][0] != made["a"][0] != made["part"][0]


def test_boxes_follow_the_picture_through_the_web(tmp_path):
    main(settings={"part": "prompt_test", "count": 40, "side": 176, "seed": 3}, out=tmp_path / "a")
    seen = 0
    for row in read_rows(tmp_path / "a" / "scenes.parquet").to_pylist():
        pixels = np.asarray(Image.open(tmp_path / "a" / row["file"])).astype(int)
        for phrase, *box in zip(row["phrases"], row["x0"], row["y0"], row["x1"], row["y1"], strict=True):
            if phrase == "red square":
                x0, y0, x1, y1 = (round(edge) for edge in box)
                window = pixels[y0:y1, x0:x1]
                red = (window[..., 0] > window[..., 1] + 60) & (window[..., 0] > window[..., 2] + 60)
                assert red.mean() > 0.85
                seen += 1
    assert seen
