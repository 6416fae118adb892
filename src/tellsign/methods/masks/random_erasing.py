"""Random erasing: a rectangle that fits into the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tellsign.methods.masks.boxes import boxes
from tellsign.methods.masks.draws import ASPECTS, Range, integers, uniform
from tellsign.schema.fields import Fraction, Interval, Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor


ATTEMPTS = 10
"""Rectangles drawn an image, as in torchvision."""


class RandomErasing(Settings):
    """Random erasing: the share that is masked, and its aspect (height to width, uniform in its logarithm).

    Zhong et al. (2020) take 0.3 to 1/0.3; MPFT gives no settings.
    """

    name: Literal["random_erasing"]
    ratio: Interval[Fraction] = (0.6, 0.8)
    aspect: Interval[Positive[float]] = (0.3, 3.3)


def random_erasing(
    x: Float[Tensor, "b c h w"],
    generator: torch.Generator,
    *,
    ratio: Range,
    aspect: Range,
) -> Float[Tensor, "b 1 h w"]:
    """Random erasing: hide a rectangle that fits into the image, drawing again until one fits.

    Unlike ``random_box`` nothing is clipped: a rectangle of height round(sqrt(S a)) and width round(sqrt(S
    / a)) that is not smaller than the image on both axes is drawn again, ten times at most, as torchvision
    does; an image for which none fits stays whole. Zhong et al. (2020) use probability 0.5 and areas of
    2-40 %; MPFT gives no settings, so the range of area is the other masks' and every image is masked.

    Args:
        x: Preprocessed images; only their shape matters.
        generator: Draws ten ratios and aspects, top and left of each image.
        ratio: Range of the fraction r of the area to hide, uniform.
        aspect: Range of the aspect (height to width), uniform in its logarithm.

    Raises:
        UserError: a bad range.
    """
    b, _, h, w = x.shape
    tries = b * ATTEMPTS
    area = h * w * uniform(ratio, tries, generator, what="mask ratio")
    a = uniform(aspect, tries, generator, what="aspect", limits=ASPECTS, logarithm=True)
    height = (area * a).sqrt().round().long().reshape(b, -1)
    width = (area / a).sqrt().round().long().reshape(b, -1)
    fits = (height < h) & (width < w)
    first = fits.long().argmax(1, keepdim=True)
    some = fits.any(1)
    height = height.gather(1, first)[:, 0] * some
    width = width.gather(1, first)[:, 0] * some
    top, left = integers(h - height, generator), integers(w - width, generator)
    return boxes(x, top, left, height, width)
