"""A random box (LoL)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tellsign.errors import choose
from tellsign.methods.masks.boxes import boxes
from tellsign.methods.masks.draws import ASPECTS, Range, integers, uniform
from tellsign.schema.fields import Fraction, Interval, Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor


class RandomBox(Settings):
    """LoL's random mask (Algorithm 1), with its width formula corrected unless ``literal``.

    How the aspect is distributed over its range is not said ("randomly selected within a specified range").
    """

    name: Literal["random_box"]
    ratio: Interval[Fraction] = (0.6, 0.8)
    aspect: Interval[Positive[float]] = (0.33, 3.0)
    literal: bool = False
    distribution: Literal["uniform", "log_uniform"] = "uniform"


def random_box(
    x: Float[Tensor, "b c h w"],
    generator: torch.Generator,
    *,
    ratio: Range,
    aspect: Range,
    literal: bool,
    distribution: str,
) -> Float[Tensor, "b 1 h w"]:
    """Random box: hide one rectangle of a drawn area and aspect at a drawn place.

    With S = H W r, the box has height round(min(H, sqrt(S a))) and width round(min(W, S / height)). The
    paper prints the width as sqrt(S / height), which hides about 5 % of the image where the text says 60-80
    %; ``literal`` uses that formula. Rounding is to the nearest integer, halves to even; both ends of the
    place's range are included.

    Args:
        x: Preprocessed images; only their shape matters.
        generator: Draws ratio, aspect, top and left of each image, in this order.
        ratio: Range of the fraction r of the area to hide, uniform. A clipped box hides less.
        aspect: Range of the aspect a (height to width).
        literal: Use the width as printed.
        distribution: Of the aspect: ``uniform`` ("randomly selected within a specified range") or ``log_uniform``
            (as likely tall as wide, as random erasing draws it).

    Raises:
        UserError: a bad range, or an unknown distribution.

    Source:
        LoL Algorithm 1; ranges of Table 3.
    """
    b, _, h, w = x.shape
    area = h * w * uniform(ratio, b, generator, what="mask ratio")
    logarithm = choose({"uniform": False, "log_uniform": True}, distribution, "distribution of the aspect")
    a = uniform(aspect, b, generator, what="aspect", limits=ASPECTS, logarithm=logarithm)
    height = (area * a).sqrt().clamp(max=h).round().long()
    wanted = area / height.clamp(min=1)
    width = (wanted.sqrt() if literal else wanted).clamp(max=w).round().long()
    top, left = integers(h - height, generator), integers(w - width, generator)
    return boxes(x, top, left, height, width)
