"""The demo's grounder.

It is a small CenterNet (Zhou et al. 2019): every place of a map says how likely an object's middle is there,
its colour, its shape, and how far its box's sides are.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from tellsign.demo import weights as shipped
from tellsign.demo.towers import PlaceEncoder
from tellsign.demo.words import COLOURS, SHAPES, article
from tellsign.networks.grounders.grounder import NOWHERE, Grounding

SIDE = 96
UNIT = 16.0  # pixels; distances from an object's middle to its sides are about 1 in it


def phrases(caption: str) -> list[str]:
    """Every "a COLOUR SHAPE" of a caption in the demo's grammar, in order, each once."""
    named_objects = [
        f"{article(colour)} {colour} {shape}"
        for colour, shape in itertools.pairwise(caption.lower().split())
        if colour in COLOURS and shape in SHAPES
    ]
    return list(dict.fromkeys(named_objects))


class Maps(NamedTuple):
    """What the network says of every place: logits, and distances to the box's sides in 16 pixels."""

    objectness: Float[Tensor, "b h w"]
    colours: Float[Tensor, "b 8 h w"]
    shapes: Float[Tensor, "b 6 h w"]
    sides: Float[Tensor, "b 4 h w"]  # left, top, right, bottom


class CentreNetwork(nn.Module):
    """Fully convolutional: one place for every 4 × 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        dim = PlaceEncoder.dim
        self.body = PlaceEncoder()
        self.objectness, self.sides = nn.Conv2d(dim, 1, 1), nn.Conv2d(dim, 4, 1)
        self.colours, self.shapes = nn.Conv2d(dim, len(COLOURS), 1), nn.Conv2d(dim, len(SHAPES), 1)

    def read(self, features: Float[Tensor, "b 64 h w"]) -> Maps:
        """Maps of the encoder's features."""
        return Maps(
            self.objectness(features)[:, 0],
            self.colours(features),
            self.shapes(features),
            self.sides(features).exp(),
        )

    def forward(self, pixels: UInt8[Tensor, "b 3 h4 w4"]) -> Maps:
        """Maps of images."""
        return self.read(self.body(pixels.float() / 127.5 - 1))


def places(height: int, width: int) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Pixel coordinates x and y of the middle of each place of a map."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (x + 0.5) * PlaceEncoder.stride, (y + 0.5) * PlaceEncoder.stride


class DemoGrounder(nn.Module):
    """The demo's grounder. A phrase's score at a place is objectness × p(colour) × p(shape)."""

    def __init__(self, net: CentreNetwork, batch_size: int = 16) -> None:
        super().__init__()
        self.net, self.batch_size = net, batch_size

    def phrases(self, caption: str) -> list[str]:
        """See `phrases`."""
        return phrases(caption)

    @torch.inference_mode()
    def ground(
        self, images: list[UInt8[np.ndarray, "h w 3"]], captions: list[str], phrases: list[list[str]]
    ) -> list[list[Grounding]]:
        """The best box of each phrase of each image, clipped to the image.

        Args:
            images: RGB, any sizes; each is squeezed into a square for the network.
            captions: Not read: the phrases say all that this grounder looks for.
            phrases: Per image, texts that hold a colour and a shape of the demo; others are nowhere.
        """
        groundings: list[list[Grounding]] = []
        device = self.net.sides.weight.device
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            full = torch.zeros(self.batch_size, 3, SIDE, SIDE, dtype=torch.uint8)  # one size always: see DemoCaptioner
            for row, image in enumerate(batch):
                square = Image.fromarray(np.ascontiguousarray(image)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                full[row] = torch.from_numpy(np.array(square)).permute(2, 0, 1)
            raw = Maps(*(part.cpu() for part in self.net(full.to(device))))
            maps = raw._replace(
                objectness=raw.objectness.sigmoid(),
                colours=raw.colours.softmax(1),
                shapes=raw.shapes.softmax(1),
            )
            for row, image in enumerate(batch):
                own = Maps(*(part[row] for part in maps))
                groundings.append([_best(wish, own, image.shape) for wish in phrases[start + row]])
        return groundings


def _best(phrase: str, maps: Maps, size: tuple[int, ...]) -> Grounding:
    """The place of one image where objectness (p) × p(colour) × p(shape) is largest, and its box."""
    words = phrase.lower().split()
    colours = [COLOURS.index(word) for word in words if word in COLOURS]
    shapes = [SHAPES.index(word) for word in words if word in SHAPES]
    if len(colours) != 1 or len(shapes) != 1:
        return NOWHERE
    score = maps.objectness * maps.colours[colours[0]] * maps.shapes[shapes[0]]
    place = int(score.argmax())
    x, y = (float(plane.flatten()[place]) for plane in places(*score.shape))
    left, top, right, bottom = (float(v) * UNIT for v in maps.sides.flatten(1)[:, place])
    height, width = size[:2]
    across, down = width / SIDE, height / SIDE
    return Grounding(
        max(0.0, x - left) * across,
        max(0.0, y - top) * down,
        min(float(SIDE), x + right) * across,
        min(float(SIDE), y + bottom) * down,
        float(score.flatten()[place]),
    )


def load(settings: Mapping[str, Any], batch_size: int) -> DemoGrounder:
    """Build the grounder with the weights that ship with the package."""
    net = CentreNetwork()
    net.load_state_dict(shipped.read("demo-grounder"))
    return DemoGrounder(net, batch_size).eval()
