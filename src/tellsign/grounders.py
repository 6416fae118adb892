"""Grounders: a phrase to the box that it names in an image.

The demo's is a small CenterNet (Zhou et al. 2019): every place of a map says how likely an object's middle is there,
its colour, its shape, and how far its box's sides are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from tellsign.demo import weights as shipped
from tellsign.demo.towers import PlaceEncoder
from tellsign.demo.words import COLOURS, SHAPES, article
from tellsign.errors import UserError, choose

SIDE, CHUNK = 96, 16
UNIT = 16.0  # pixels; distances from an object's middle to its sides are about 1 in it


class Grounding(NamedTuple):
    """Where a phrase is: corners in pixels of the original image, p that it is there, and whether that suffices."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float
    found: bool


class Grounder(Protocol):
    """What a grounder does; every grounder is also a torch module, so that it moves to a device."""

    def phrases(self, caption: str) -> list[str]:
        """The phrases of a caption that name objects, in order, each once."""
        ...

    def ground(
        self, images: list[UInt8[np.ndarray, "h w 3"]], phrases: list[list[str]], threshold: float
    ) -> list[list[Grounding]]:
        """The best box of each phrase of each image; ``found`` when its score is at least the threshold."""
        ...


def phrases(caption: str) -> list[str]:
    """Every "a COLOUR SHAPE" of a caption in the demo's grammar, in order, each once."""
    found = [
        f"{article(colour)} {colour} {shape}"
        for colour, shape in itertools.pairwise(caption.lower().split())
        if colour in COLOURS and shape in SHAPES
    ]
    return list(dict.fromkeys(found))


class CentreNetwork(nn.Module):
    """Fully convolutional: one place for every 4 × 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = PlaceEncoder()
        self.objectness = nn.Conv2d(PlaceEncoder.dim, 1, 1)
        self.colour, self.shape = nn.Conv2d(PlaceEncoder.dim, len(COLOURS), 1), nn.Conv2d(PlaceEncoder.dim, len(SHAPES), 1)
        self.box = nn.Conv2d(PlaceEncoder.dim, 4, 1)

    def forward(
        self, pixels: UInt8[Tensor, "b 3 h w"]
    ) -> tuple[
        Float[Tensor, "b h4 w4"], Float[Tensor, "b 8 h4 w4"], Float[Tensor, "b 6 h4 w4"], Float[Tensor, "b 4 h4 w4"]
    ]:
        """Logits of objectness, colours and shapes; distances to left, top, right, bottom in units of 16 pixels."""
        return self.heads(self.body(pixels.float() / 127.5 - 1))


def places(height: int, width: int) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Pixel coordinates x and y of the middle of each place of a map."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (x + 0.5) * PlaceEncoder.stride, (y + 0.5) * PlaceEncoder.stride


class DemoGrounder(nn.Module):
    """The demo's grounder. A phrase's score at a place is objectness × p(colour) × p(shape)."""

    def __init__(self, net: CentreNetwork) -> None:
        super().__init__()
        self.net = net

    def phrases(self, caption: str) -> list[str]:
        """See `phrases`."""
        return phrases(caption)

    @torch.inference_mode()
    def ground(
        self, images: list[UInt8[np.ndarray, "h w 3"]], phrases: list[list[str]], threshold: float
    ) -> list[list[Grounding]]:
        """The best box of each phrase of each image, clipped to the image.

        Args:
            images: RGB, any sizes; each is squeezed into a square for the network.
            phrases: Per image, texts that hold a colour and a shape of the demo; others are not found (score 0).
            threshold: The least score of a box that counts as found.
        """
        found: list[list[Grounding]] = []
        device = self.net.box.weight.device
        for start in range(0, len(images), CHUNK):
            batch = images[start : start + CHUNK]
            full = torch.zeros(CHUNK, 3, SIDE, SIDE, dtype=torch.uint8)  # one size always: see DemoCaptioner
            for row, image in enumerate(batch):
                square = Image.fromarray(np.ascontiguousarray(image)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                full[row] = torch.from_numpy(np.array(square)).permute(2, 0, 1)
            objectness, colour, shape, box = (part.cpu() for part in self.net(full.to(device)))
            maps = objectness.sigmoid(), colour.softmax(1), shape.softmax(1), box
            for row, image in enumerate(batch):
                wanted = phrases[start + row]
                found.append([_best(wish, [m[row] for m in maps], image.shape, threshold) for wish in wanted])
        return found


def _best(phrase: str, maps: list[Tensor], shape: tuple[int, ...], threshold: float) -> Grounding:
    objectness, colours, shapes, boxes = maps
    words = phrase.lower().split()
    colour = [COLOURS.index(word) for word in words if word in COLOURS]
    form = [SHAPES.index(word) for word in words if word in SHAPES]
    if len(colour) != 1 or len(form) != 1:
        return Grounding(0.0, 0.0, 0.0, 0.0, 0.0, False)
    score = objectness * colours[colour[0]] * shapes[form[0]]
    place = int(score.argmax())
    x, y = (float(plane.flatten()[place]) for plane in places(*score.shape))
    left, top, right, bottom = (float(v) * UNIT for v in boxes.flatten(1)[:, place])
    height, width = shape[:2]
    across, down = width / SIDE, height / SIDE
    best = float(score.flatten()[place])
    return Grounding(
        max(0.0, x - left) * across,
        max(0.0, y - top) * down,
        min(float(SIDE), x + right) * across,
        min(float(SIDE), y + bottom) * down,
        best,
        best >= threshold,
    )


def _demo(weights: str) -> DemoGrounder:
    if weights != "shipped":
        raise UserError(f"the demo's grounder has no weights but the shipped ones; {weights!r} came.")
    net = CentreNetwork()
    net.load_state_dict(shipped.read("demo-grounder"))
    return DemoGrounder(net).eval()


GROUNDERS: dict[str, Callable[[str], Grounder]] = {"demo": _demo}


def load_grounder(name: str, weights: str) -> Grounder:
    """Build a grounder, ready to use, on the CPU.

    Args:
        name: One of `GROUNDERS`.
        weights: ``shipped`` for the demo's.

    Raises:
        UserError: unknown name or weights.
    """
    return choose(GROUNDERS, name, "grounder")(weights)
