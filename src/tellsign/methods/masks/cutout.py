"""CutOut: a random square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tellsign.methods.masks.boxes import boxes
from tellsign.methods.masks.draws import Range, integers, uniform
from tellsign.schema.fields import Fraction, Interval
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor


class CutOut(Settings):
    """CutOut: the share of the image that is masked."""

    name: Literal["cutout"]
    ratio: Interval[Fraction] = (0.6, 0.8)


def cutout(x: Float[Tensor, "b c h w"], generator: torch.Generator, *, ratio: Range) -> Float[Tensor, "b 1 h w"]:
    """CutOut: hide one square that lies inside the image.

    CutOut (DeVries & Taylor 2017) fixes the side in pixels and lets the square hang over the border, so
    that it hides less than its area. MPFT compares it in Table 4 without settings; here the side follows
    from the range of hidden area that the other masks have, and nothing hangs over, so that the masks
    differ by place alone.

    Args:
        x: Preprocessed images; only their shape matters.
        generator: Draws ratio, top and left of each image.
        ratio: Range of the fraction r of the area to hide, uniform; side round(sqrt(r H W)), at most the
            shorter side.

    Raises:
        UserError: a bad range.
    """
    b, _, h, w = x.shape
    area = h * w * uniform(ratio, b, generator, what="mask ratio")
    side = area.sqrt().clamp(max=min(h, w)).round().long()
    top, left = integers(h - side, generator), integers(w - side, generator)
    return boxes(x, top, left, side, side)
