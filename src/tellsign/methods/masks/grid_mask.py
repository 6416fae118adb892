"""GridMask: a square in each cell of a regular grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tellsign.methods.masks.draws import Range, integers, uniform
from tellsign.schema.fields import Fraction, Interval
from tellsign.schema.settings import Settings
from tellsign.system.devices import sent

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor


class GridMask(Settings):
    """GridMask: the share that is masked, and the side of a cell as a fraction of the shorter side.

    Chen et al. (2020) draw it from 96 to 224 pixels at crops of 224; MPFT gives no settings.
    """

    name: Literal["grid_mask"]
    ratio: Interval[Fraction] = (0.6, 0.8)
    period: Interval[Fraction] = (96 / 224, 1.0)


def grid_mask(
    x: Float[Tensor, "b c h w"],
    generator: torch.Generator,
    *,
    ratio: Range,
    period: Range,
) -> Float[Tensor, "b 1 h w"]:
    """GridMask: hide a square in each cell of a regular grid.

    Chen et al. (2020) draw the cell's side from 96 to 224 pixels for crops of 224 and shift the grid at
    random; here the range is a fraction of the shorter side, so that it holds at any size. MPFT gives no
    settings.

    Args:
        x: Preprocessed images; only their shape matters.
        generator: Draws ratio, period and both shifts of each image.
        ratio: Range of the fraction r of the area to hide, uniform. The square has side round(d sqrt(r)) in
            a cell of side d; the hidden fraction of one image varies with the shift, its mean over shifts
            is (side / d)².
        period: Range of the cell's side, as a fraction of the image's shorter side, uniform.

    Raises:
        UserError: a bad range.
    """
    import torch

    b, _, h, w = x.shape
    r = uniform(ratio, b, generator, what="mask ratio")
    d = (min(h, w) * uniform(period, b, generator, what="grid period")).round().long().clamp(min=1)
    side = (d * r.sqrt()).round().long()
    shifts = integers(d - 1, generator), integers(d - 1, generator)
    d, side, down, right = sent(torch.stack([d, side, *shifts]), x.device)[..., None]
    rows = (torch.arange(h, device=x.device) + down) % d < side
    columns = (torch.arange(w, device=x.device) + right) % d < side
    return (~(rows[:, None, :, None] & columns[:, None, None, :])).to(x.dtype)
