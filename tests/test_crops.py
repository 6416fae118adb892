from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from tellsign.data.images import center_window, recompress, resized
from tellsign.data.perturbations import PERTURBATIONS
from tellsign.data.pixels import PixelTable
from tellsign.errors import UserError
from tellsign.stages.crops import main
from tellsign.system.parquet import write_rows

SIZES = [(20, 30), (9, 40), (16, 16)]
SETTINGS = {
    "store": "whole",
    "size": 0,
    "bias_control": "none",
    "bias_quality": 80,
    "bias_size": 12,
    "perturbation": {"name": "none", "options": {}, "seed": 0},
    "resize": None,
}


SQUASH = {"mode": "squash", "size": 14, "filter": "bilinear"}
SHORTER = {"mode": "shorter", "size": 8, "filter": "bicubic"}


@pytest.fixture
def split(tmp_path):
    """Three images; the last is shared by two subsets."""
    rows = []
    for i, (height, width) in enumerate([*SIZES, SIZES[-1]]):
        image = np.random.default_rng(min(i, 2)).integers(0, 256, (height, width, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "PNG")
        (tmp_path / f"{i}.png").write_bytes(stream.getvalue())
        digest = hashlib.sha256(stream.getvalue()).hexdigest()
        rows.append({"id": digest, "root": "r", "path": f"{i}.png", "height": height, "width": width})
    write_rows(tmp_path / "split", {name: [row[name] for row in rows] for name in rows[0]})
    return tmp_path / "split"


def crops(split, name="crops", **changes):
    main(settings=SETTINGS | changes, split=split, roots={"r": split.parent}, out=split.parent / name)
    table = PixelTable.open(split.parent / name)
    return [table.image(i).permute(1, 2, 0).numpy() for i in range(len(table))]


def originals(split):
    return [np.asarray(Image.open(split.parent / f"{i}.png")) for i in range(3)]


def equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_whole_images_are_stored_once_each(split):
    equal(crops(split), originals(split))
    assert np.load(split.parent / "crops/pixels.npy", mmap_mode="r").shape == (20 * 30 + 9 * 40 + 16 * 16, 3)


def test_center_crops_tile_what_is_smaller(split):
    equal(crops(split, store="center", size=16), [center_window(image, 16) for image in originals(split)])


def test_center_crops_equal_those_cut_from_the_whole_images(split):
    crops(split)
    whole = PixelTable.open(split.parent / "crops")
    cut = whole.center_crops(whole.rows_of(whole.ids), 11).permute(0, 2, 3, 1).numpy()
    equal(crops(split, "center", store="center", size=11), list(cut))


def test_bias_control_comes_before_the_centre_crop(split):
    equal(crops(split, bias_control="jpeg"), [recompress(image, 80) for image in originals(split)])
    expected = [recompress(center_window(image, 12), 80) for image in originals(split)]
    equal(crops(split, bias_control="jpeg+size"), expected)
    cut = crops(split, bias_control="jpeg+size", store="center", size=8)
    equal(cut, [image[2:10, 2:10] for image in expected])


def test_tiled_images_are_counted(split, caplog):
    with caplog.at_level("INFO", "tellsign"):
        crops(split, bias_control="jpeg+size", store="center", size=18)
    assert "common crop of 12 px: 1 of 3 images tiled" in caplog.text
    assert "centre crop of 18 px: 3 of 3 images tiled" in caplog.text


def test_draws_of_a_perturbation_follow_from_seed_and_image_alone(split, monkeypatch):
    def noise(image, generator, amount):
        return (image + generator.integers(0, amount, image.shape)).astype(np.uint8)

    monkeypatch.setattr("tellsign.data.perturbations.noise.noise", noise)
    change = {"name": "noise", "options": {"amount": 5}, "seed": 1}
    first = crops(split, perturbation=change)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    equal(crops(split, perturbation=change), first)
    for image, original in zip(first, originals(split), strict=True):
        assert set(np.unique((image - original.astype(int)) % 256)) == set(range(5))
    other = crops(split, perturbation=change | {"seed": 2})
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    with pytest.raises(UserError, match=r"unknown perturbation 'nois'\. Did you mean 'noise'"):
        crops(split, perturbation=change | {"name": "nois"})


def test_equal_settings_give_equal_bytes(split):
    crops(split, "a", bias_control="jpeg")
    crops(split, "b", bias_control="jpeg")
    for name in ("pixels.npy", "images.parquet"):
        assert (split.parent / "a" / name).read_bytes() == (split.parent / "b" / name).read_bytes()


def test_changed_and_missing_files_are_named_and_leave_nothing(split):
    before = set(split.parent.iterdir())
    (split.parent / "1.png").write_bytes((split.parent / "1.png").read_bytes() + b"x")
    with pytest.raises(UserError, match=r"1.png has changed: indexed with sha256"):
        crops(split)
    (split.parent / "1.png").unlink()
    with pytest.raises(UserError, match=r"1.png was indexed but is no longer there"):
        crops(split)
    assert set(split.parent.iterdir()) == before - {split.parent / "1.png"}


@pytest.mark.parametrize("resize", [SQUASH, SHORTER])
def test_images_are_resized_before_the_centre_crop(split, resize):
    expected = [resized(image, **resize) for image in originals(split)]
    equal(crops(split, resize=resize), expected)
    equal(crops(split, "c", store="center", size=7, resize=resize), [center_window(image, 7) for image in expected])


def test_resizing_follows_bias_control_and_perturbation(split):
    blur = {"name": "tidy-blur", "options": {"severity": 2.0}, "seed": 0}
    found = crops(split, bias_control="jpeg+size", perturbation=blur, resize=SQUASH)
    for image, one in zip(originals(split), found, strict=True):
        common = recompress(center_window(image, 12), 80)
        smooth = PERTURBATIONS.load("tidy-blur")(common, np.random.default_rng(0), severity=2.0)
        np.testing.assert_array_equal(one, resized(smooth, **SQUASH))
