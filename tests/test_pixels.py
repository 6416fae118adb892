from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.data.pixels import PixelTable, augment
from tellsign.errors import UserError
from tellsign.system.parquet import write_rows

SIZES = [(5, 7), (12, 9), (30, 4), (8, 8)]


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in SIZES]


@pytest.fixture
def table(tmp_path) -> PixelTable:
    np.save(tmp_path / "pixels.npy", np.concatenate([image.reshape(-1, 3) for image in images()]))
    heights, widths = zip(*SIZES, strict=True)
    offsets = np.cumsum([0] + [h * w for h, w in SIZES])[:-1]
    columns = {"id": list("abcd"), "height": heights, "width": widths, "offset": offsets}
    write_rows(tmp_path / "images.parquet", columns)
    return PixelTable.open(tmp_path)


def canvas(image: np.ndarray, size: int) -> np.ndarray:
    """The papers' rule, written out: paste copies from the top left until the crop fits."""
    height, width = image.shape[:2]
    if min(height, width) >= size:
        return image
    return np.tile(image, (-(-size // height), -(-size // width), 1))


def test_open_maps_the_file_and_image_returns_it(table):
    assert len(table) == 4
    for row, image in enumerate(images()):
        np.testing.assert_array_equal(table.image(row).numpy(), image.transpose(2, 0, 1))


def test_rows_of(table):
    assert table.rows_of(["c", "a", "c"]).tolist() == [2, 0, 2]
    with pytest.raises(UserError, match="1 of 2 images are not among these 4 crops, the first is x"):
        table.rows_of(["a", "x"])


@pytest.mark.parametrize("size", [1, 4, 6, 8, 13, 31])
def test_center_crops_equal_the_tiled_canvas(table, size):
    found = table.center_crops(torch.tensor([3, 0, 1, 2]), size).numpy()
    for crop, row in zip(found, [3, 0, 1, 2], strict=True):
        tiled = canvas(images()[row], size)
        top, left = (round((n - size) / 2.0) for n in tiled.shape[:2])
        np.testing.assert_array_equal(crop, tiled[top : top + size, left : left + size].transpose(2, 0, 1))


@pytest.mark.parametrize("cut", [PixelTable.slices, PixelTable.gathered])
def test_windows_at_every_corner_of_the_canvas(table, cut):
    for row, image in enumerate(images()):
        tiled = canvas(image, 10)
        tops, lefts = np.indices((tiled.shape[0] - 9, tiled.shape[1] - 9)).reshape(2, -1)
        rows = torch.full((len(tops),), row)
        found = cut(table, rows, torch.from_numpy(tops), torch.from_numpy(lefts), 10).numpy()
        for crop, top, left in zip(found, tops, lefts, strict=True):
            np.testing.assert_array_equal(crop, tiled[top : top + 10, left : left + 10].transpose(2, 0, 1))


def test_random_crops_reach_every_position_about_equally(table):
    generator = torch.Generator().manual_seed(0)
    rows = torch.full((4000,), 1)  # 12 × 9 with size 8: 5 × 2 positions
    found = table.random_crops(rows, 8, generator).flatten(1)
    counts = found.unique(dim=0, return_counts=True)[1]
    assert len(counts) == 10
    assert (counts - 400).abs().max() < 5 * 400**0.5


def test_random_crops_follow_the_generator(table):
    rows = torch.arange(4)
    first, again = (table.random_crops(rows, 6, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.booleans(), st.booleans())
def test_augment_gives_each_image_one_of_its_symmetries(seed, flip, rotate):
    x = torch.arange(6 * 3 * 4 * 4, dtype=torch.int32).view(6, 3, 4, 4)
    before = x.clone()
    found = augment(x, torch.Generator().manual_seed(seed), flip=flip, rotate=rotate)
    assert torch.equal(x, before)
    for image, original in zip(found, x, strict=True):
        bases = [original, original.flip(-1)] if flip else [original]
        allowed = [base.rot90(k, (-2, -1)) for base in bases for k in (range(4) if rotate else (0,))]
        assert any(torch.equal(image, one) for one in allowed)


def test_augment_draws_all_eight_symmetries_equally():
    x = torch.arange(9).view(1, 1, 3, 3).repeat(4000, 3, 1, 1)
    found = augment(x, torch.Generator().manual_seed(1), flip=True, rotate=True)
    counts = found.flatten(1).unique(dim=0, return_counts=True)[1]
    assert len(counts) == 8
    assert (counts - 500).abs().max() < 5 * 500**0.5


def test_rotation_of_oblong_images_is_refused():
    with pytest.raises(ValueError, match="square"):
        augment(torch.zeros(2, 3, 4, 5), torch.Generator(), flip=False, rotate=True)


@pytest.mark.gpu
def test_crops_on_a_gpu_equal_those_on_the_cpu(table):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    moved, rows = table.to(torch.device("cuda")), torch.arange(4)
    here, there = (t.random_crops(rows, 13, torch.Generator().manual_seed(3)) for t in (table, moved))
    assert there.is_cuda
    assert torch.equal(here, there.cpu())
    both = {"flip": True, "rotate": True}
    turned = [augment(x, torch.Generator().manual_seed(5), **both).cpu() for x in (here, there)]
    assert torch.equal(*turned)
