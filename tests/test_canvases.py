"""Central crops as torchvision and albumentations cut them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as V

from tellsign.data.canvases import on_black, on_tiles, ten_crops
from tellsign.data.pixels import PixelTable

SIDES = [(30, 41), (21, 50), (20, 20), (25, 19), (13, 9), (23, 31), (50, 27)]


@pytest.fixture(scope="module")
def table():
    draws = np.random.default_rng(0)
    images = [torch.from_numpy(draws.integers(1, 256, (h, w, 3), dtype=np.uint8)) for h, w in SIDES]
    counts = torch.tensor([h * w for h, w in SIDES])
    heights, widths = torch.tensor(SIDES).unbind(1)
    pixels = torch.cat([image.flatten(0, 1) for image in images])
    return PixelTable(tuple(map(str, range(len(images)))), pixels, counts.cumsum(0) - counts, heights, widths)


def picture(table: PixelTable, row: int) -> Image.Image:
    return Image.fromarray(table.image(row).permute(1, 2, 0).numpy())


def test_a_crop_on_black_is_torchvisions(table):
    found = on_black(table, torch.arange(len(table)), 20)
    for row in range(len(table)):
        expected = V.pil_to_tensor(V.center_crop(picture(table, row), [20, 20]))
        assert torch.equal(found[row], expected), SIDES[row]


def test_rounded_down_it_begins_at_half_the_slack_without_its_fraction(table):
    found = on_black(table, torch.tensor([5, 6]), 20, down=True)
    assert torch.equal(found[0], table.image(5)[:, 1:21, 5:25])
    assert torch.equal(found[1], table.image(6)[:, 15:35, 3:23])
    assert not torch.equal(found, on_black(table, torch.tensor([5, 6]), 20))


def test_a_crop_on_tiles_is_that_of_the_whole_canvas(table):
    for side in (20, 24, 40):
        found = on_tiles(table, torch.arange(len(table)), 20, side)
        for row, (h, w) in enumerate(SIDES):
            canvas = np.tile(np.asarray(picture(table, row)), (-(-side // h), -(-side // w), 1))
            expected = V.pil_to_tensor(V.center_crop(Image.fromarray(canvas), [20, 20]))
            assert torch.equal(found[row], expected), (side, SIDES[row])
    assert torch.equal(on_tiles(table, torch.arange(7), 20, 20), table.center_crops(torch.arange(7), 20))


def test_ten_crops_are_torchvisions(table):
    expected = torch.stack([V.pil_to_tensor(crop) for crop in V.ten_crop(picture(table, 0), [20, 20])])
    assert torch.equal(ten_crops(table.image(0), 20), expected)
