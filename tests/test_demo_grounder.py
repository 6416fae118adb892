from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.demo import words
from tellsign.demo.camera import camera
from tellsign.demo.grounder import CentreNetwork, DemoGrounder, Maps, phrases, places
from tellsign.demo.scenes import caption, scene
from tellsign.networks.determinism import seeded
from tellsign.networks.grounders.grounder import NOWHERE, load_grounder


def test_phrases_of_a_caption_in_order_each_once():
    text = "A red circle left of an orange square and a red circle on a pink dotted background"
    assert phrases(text) == ["a red circle", "an orange square"]
    assert phrases("a red photo of a circle on a gray plain background") == []
    assert phrases("") == []


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_phrases_of_a_scenes_caption_are_its_objects(seed):
    _, truth = scene(np.random.default_rng(seed), 48)
    assert phrases(caption(truth)) == [item.named for item in truth.objects]


def test_places_are_the_middles_of_four_pixels():
    x, y = places(2, 3)
    assert x.tolist() == [[2, 6, 10]] * 2 and y.tolist() == [[2] * 3, [6] * 3]


class Painted(CentreNetwork):
    """Sees an object in the places that the test says."""

    def forward(self, pixels: torch.Tensor) -> Maps:
        shape = (len(pixels), 24, 24)
        objectness = torch.full(shape, -20.0)
        objectness[:, 6, 12], objectness[:, 20, 3] = 2.0, 1.0
        colours, shapes = torch.zeros(len(pixels), 8, 24, 24), torch.zeros(len(pixels), 6, 24, 24)
        colours[:, words.COLOURS.index("red"), 6, 12] = 20.0
        colours[:, words.COLOURS.index("blue"), 20, 3] = 20.0
        shapes[:, words.SHAPES.index("ring")] = 20.0
        sides = torch.tensor([1.0, 0.5, 2.0, 0.25])[None, :, None, None].expand(len(pixels), 4, 24, 24)
        return Maps(objectness, colours, shapes, sides)


def test_a_box_is_read_off_the_best_place_and_scaled_to_the_image():
    image = np.zeros((192, 48, 3), np.uint8)  # twice as high, half as wide as the network's square
    red, blue, none = DemoGrounder(Painted()).ground([image], [""], [["a red ring", "blue ring", "a dog"]])[0]
    x, y = 12 * 4 + 2, 6 * 4 + 2
    expected = ((x - 16) / 2, (y - 8) * 2, (x + 32) / 2, (y + 4) * 2)
    assert red[:4] == pytest.approx(expected)
    assert red.score == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-4)
    assert blue.x0 == 0.0  # clipped
    assert blue.score == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-4)
    assert none == NOWHERE


def test_the_network_takes_any_size():
    with seeded(0):
        network = CentreNetwork().eval()
    maps = network(torch.zeros(1, 3, 64, 40, dtype=torch.uint8))
    assert [tuple(part.shape[1:]) for part in maps] == [(16, 10), (8, 16, 10), (6, 16, 10), (4, 16, 10)]
    assert (maps.sides > 0).all()


def test_the_shipped_grounder_finds_objects_and_little_else():
    grounder, images, texts, present, boxes, absent = load_grounder({"name": "demo"}, 16), [], [], [], [], []
    for i in range(40):
        generator = np.random.default_rng([8, i])
        image, truth = scene(generator, 176)
        images.append(camera(image, generator))
        texts.append(caption(truth))
        present.append(grounder.phrases(texts[-1]))
        boxes.append([np.array(item.box) * 176 for item in truth.objects])
        absent.append([p for p in ("a red ring", "a blue cross", "a white square") if p not in present[-1]])
    found = grounder.ground(images, texts, present)
    apart = [
        np.abs(np.array(f[:4]) - b).max()
        for row, ones in zip(found, boxes, strict=True)
        for f, b in zip(row, ones, strict=True)
    ]
    assert np.mean(np.array(apart) < 18) > 0.9  # pixels; an object is 33 to 70 wide
    assert np.mean([f.score >= 0.3 for row in found for f in row]) > 0.9
    assert np.mean([f.score >= 0.3 for row in grounder.ground(images, texts, absent) for f in row]) < 0.1
    assert grounder.ground(images[-1:], texts[-1:], present[-1:]) == found[-1:]  # alone as among others
