"""From an image to the network's input, and from its predictions to boxes.

Follows ``maskrcnn_benchmark/data/transforms``, ``modeling/rpn/anchor_generator.py`` and ``modeling/rpn/inference.py``
of microsoft/GLIP at commit 9dda955 (a variant of ATSS, Zhang et al. 2020). Boxes are (x0, y0, x1, y1) in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torchvision.ops import nms

from tellsign.errors import choose
from tellsign.networks.glip.head import Predictions

LARGEST_GROWTH = math.log(1000 / 16)  # a box is at most this often as long as its anchor, in logs


def resized_size(height: int, width: int, min_side: int, max_side: int | None) -> tuple[int, int]:
    """Height and width that an image is resized to.

    The shorter side becomes ``min_side``, or what makes the longer one about ``max_side`` if it were longer than
    that; the longer side is truncated, so it may end a little below. ``max_side=None`` is the released demo's rule;
    800 and 1333 are what the weights were trained and evaluated with.
    """
    short, long = min(height, width), max(height, width)
    side = min_side
    if max_side is not None and long / short * min_side > max_side:
        side = max(1, round(max_side * short / long))
    if short == side:
        return height, width
    if width < height:
        return int(side * height / width), side
    return side, int(side * width / height)


def resize(image: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Resize bytes by PIL's bilinear filter, which averages when it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.array(picture.resize((width, height), Image.Resampling.BILINEAR))


def padded_size(height: int, width: int, divisor: int) -> tuple[int, int]:
    """The next multiples of ``divisor``."""
    return height + -height % divisor, width + -width % divisor


def normalise(
    image: UInt8[np.ndarray, "h w 3"], mean: Sequence[float], std: Sequence[float], device: torch.device
) -> Float[Tensor, "3 h w"]:
    """RGB bytes to the network's blue-green-red; ``mean`` and ``std`` in that order, of pixels 0..255."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).flip(2).permute(2, 0, 1).float()
    return (pixels - pixels.new_tensor(mean)[:, None, None]) / pixels.new_tensor(std)[:, None, None]


def batch(images: Sequence[Float[Tensor, "3 h w"]], divisor: int) -> Float[Tensor, "b 3 h2 w2"]:
    """Pad normalised images by zeros, right and bottom, to their common size, a multiple of ``divisor``."""
    height, width = padded_size(max(i.shape[1] for i in images), max(i.shape[2] for i in images), divisor)
    out = images[0].new_zeros(len(images), 3, height, width)
    for row, image in zip(out, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    return out


def anchors(
    sizes: Sequence[float], strides: Sequence[int], levels: Sequence[tuple[int, int]], device: torch.device
) -> Float[Tensor, "n 4"]:
    """One square around every place of every level, in pixel-inclusive corners: ``size`` pixels from x0 to x1.

    Args:
        sizes: Side of the squares of each level.
        strides: Pixels between neighbouring places of each level.
        levels: Height and width of each level.
        device: Where to build them.
    """
    out = []
    for size, stride, (height, width) in zip(sizes, strides, levels, strict=True):
        middle, reach = (stride - 1) / 2, (size - 1) / 2
        y = torch.arange(height, device=device)[:, None] * float(stride) + middle
        x = torch.arange(width, device=device) * float(stride) + middle
        y, x = y.expand(height, width), x.expand(height, width)
        out.append(torch.stack([x - reach, y - reach, x + reach, y + reach], -1).flatten(0, 1))
    return torch.cat(out)


def decode(deltas: Float[Tensor, "n 4"], squares: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
    """Boxes of deltas: shifts of the middle over size × 10, growth in logs × 5; zeros give the anchor.

    Sizes are pixel-inclusive (x1 - x0 + 1), middles are not ((x0 + x1) / 2): the coder of the vision-language head,
    half a pixel from the generic one of the same code.
    """
    low, high = squares.split(2, 1)
    size, middle = high - low + 1, (low + high) / 2
    shift, growth = deltas.split(2, 1)
    middle = shift / 10 * size + middle
    reach = (size * (growth / 5).clamp(max=LARGEST_GROWTH).exp() - 1) / 2
    return torch.cat([middle - reach, middle + reach], 1)


def _mean(values: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    return values.mean(1)


def _max(values: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    return values.amax(1)


AGGREGATES: dict[str, Callable[[Tensor], Tensor]] = {"mean": _mean, "max": _max}


@dataclass(frozen=True)
class Rule:
    """What counts as a detection; the defaults are the released evaluation's.

    Attributes:
        threshold: A place is a candidate for a phrase when the phrase's probability exceeds it.
        candidates: At most so many of each level.
        iou: Of two boxes of one phrase that overlap by more, the worse one goes.
        detections: At most so many remain (more when scores tie).
        aggregate: How the probabilities of a phrase's tokens become the phrase's, one of `AGGREGATES`.
    """

    threshold: float = 0.05
    candidates: int = 1000
    iou: float = 0.6
    detections: int = 100
    aggregate: str = "mean"


class Boxes(NamedTuple):
    """Detections of one image, best first."""

    boxes: Float[Tensor, "m 4"]
    scores: Float[Tensor, " m"]  # sqrt(phrase probability × centerness)
    labels: Int[Tensor, " m"]  # index of the phrase

    def pick(self, rows: Tensor) -> Boxes:
        """Some of them: indices, or a mask."""
        return Boxes(self.boxes[rows], self.scores[rows], self.labels[rows])


def phrase_probabilities(
    logits: Float[Tensor, "n t"], phrases: Sequence[Sequence[int]], aggregate: str
) -> Float[Tensor, "n p"]:
    """p that each place shows each phrase, from its tokens' probabilities; 0 for a phrase without tokens.

    Tokens beyond the text (cut off) are left out of their phrase.
    """
    join = choose(AGGREGATES, aggregate, "aggregate")
    out = logits.new_zeros(len(logits), len(phrases))
    for column, tokens in enumerate(phrases):
        own = [token for token in tokens if token < logits.shape[1]]
        if own:
            out[:, column] = join(logits[:, own].sigmoid())
    return out


def candidates(
    image: Predictions,
    row: int,
    squares: Float[Tensor, "n 4"],
    phrases: Sequence[Sequence[int]],
    size: tuple[int, int],
    rule: Rule,
) -> Boxes:
    """Boxes of one image of a batch before suppression, best first.

    Args:
        image: The batch's predictions.
        row: Which image.
        squares: From `anchors`.
        phrases: Token positions of each phrase.
        size: Height and width of the resized image without its padding; boxes are clipped to it.
        rule: What counts.
    """
    probability = phrase_probabilities(image.logits[row], phrases, rule.aggregate)
    # the threshold is compared before centerness enters
    quality = (probability * image.centerness[row].sigmoid()[:, None]).masked_fill(probability <= rule.threshold, -1)
    places, labels, kept = [], [], []
    start = 0
    for height, width in image.sizes:
        level = quality[start : start + height * width].flatten()
        best, where = level.topk(min(rule.candidates, len(level)))
        where = where[best >= 0]
        kept.append(best[best >= 0])
        places.append(start + where // len(phrases))
        labels.append(where % len(phrases))
        start += height * width
    place, label, score = torch.cat(places), torch.cat(labels), torch.cat(kept).sqrt()
    boxes = decode(image.deltas[row, place], squares[place])
    edge = boxes.new_tensor([size[1] - 1, size[0] - 1, size[1] - 1, size[0] - 1])
    clipped = Boxes(boxes.clamp(min=0).minimum(edge), score, label)
    return clipped.pick(score.argsort(descending=True, stable=True))


def suppress(boxes: Boxes, iou: float, inclusive: bool = True) -> Boxes:
    """Greedy non-maximum suppression within each phrase.

    Args:
        boxes: Candidates; coordinates are not negative.
        iou: Boxes that overlap a better one of the phrase by more go.
        inclusive: Whether a box from x0 to x1 is x1 - x0 + 1 wide, as in the released GPU kernel (its CPU path is
            torchvision's, without the 1, and leaves slightly different boxes).
    """
    if not len(boxes.boxes):
        return boxes
    # moving the far corner by 1 makes every width, height and intersection the inclusive one: both minima and maxima
    # move along. In double precision phrases can be put out of each other's reach without touching the overlaps
    corners = boxes.boxes.double()
    corners[:, 2:] += float(inclusive)
    reach = corners.max() + 1
    return boxes.pick(nms(corners + boxes.labels[:, None] * reach, boxes.scores.double(), iou))


def detect(
    image: Predictions,
    row: int,
    squares: Float[Tensor, "n 4"],
    phrases: Sequence[Sequence[int]],
    size: tuple[int, int],
    rule: Rule,
) -> Boxes:
    """Detections of one image of a batch, best first; arguments as in `candidates`."""
    boxes = suppress(candidates(image, row, squares, phrases, size, rule), rule.iou)
    return cap(boxes, rule.detections)


def cap(detections: Boxes, most: int) -> Boxes:
    """The best ``most`` of sorted detections, and those that tie with the last of them."""
    if len(detections.scores) <= most:
        return detections
    return detections.pick(detections.scores >= detections.scores[most - 1])


def to_original(boxes: Float[Tensor, "m 4"], size: tuple[int, int], original: tuple[int, int]) -> Float[Tensor, "m 4"]:
    """Boxes of the resized image in pixels of the original; sizes are (height, width). No half pixel is added."""
    across, down = original[1] / size[1], original[0] / size[0]
    return boxes * boxes.new_tensor([across, down, across, down])
