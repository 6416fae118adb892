"""Rescaling lattices: what bilinear up-scaling leaves behind, and patches that differ in it alone.

Up-scaling by s = a/b (reduced) maps the destination pixel x to the source coordinate (x + 1/2) b/a - 1/2
(rescale Eq. 1). Its fractional part is the weight of the interpolation (Eq. 2). Moving x by a moves the
source coordinate by the integer b: the weights repeat with **period** a, the denominator of
source/destination. The **phase** of a position is the position modulo the period, on both axes. Two patches
have the same lattice when ratio and phase agree.

The paper draws "scaling ratios s in (1, 2)". Ratios here are exact fractions from a list: a period exists
only for a rational ratio, a patch shows it only if the period is smaller than the patch, and two images can
share a ratio drawn from a list, never one drawn from an interval.

Coordinates are computed in integers, so that a weight is exact to its last bit and repeats exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from tellsign.errors import UserError


@dataclass(frozen=True, order=True)
class Ratio:
    """An exact scale factor, destination/source, kept in reduced form.

    Raises:
        UserError: a part is not a positive integer.
    """

    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        if self.numerator < 1 or self.denominator < 1:
            raise UserError(f"a scale ratio needs two positive integers, not {self}; e.g. 4/3.")
        common = math.gcd(self.numerator, self.denominator)
        object.__setattr__(self, "numerator", self.numerator // common)
        object.__setattr__(self, "denominator", self.denominator // common)

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"

    @classmethod
    def parse(cls, text: str) -> Ratio:
        """Read ``"4/3"``.

        Raises:
            UserError: the text is no fraction of two integers.
        """
        try:
            value = Fraction(text)
        except (ValueError, ZeroDivisionError) as error:
            raise UserError(f"{text!r} is no scale ratio; write numerator/denominator, e.g. 4/3.") from error
        return cls(value.numerator, value.denominator)

    def scaled(self, length: int) -> int:
        """Length of ``length`` source pixels after scaling, rounded down."""
        return length * self.numerator // self.denominator


def ratios(max_period: int, *, dividing: int | None = None, low: float = 1.0, high: float = 2.0) -> tuple[Ratio, ...]:
    """All reduced ratios in the open interval (low, high) with a period up to ``max_period``, largest first.

    Args:
        max_period: Largest period, in destination pixels.
        dividing: Keep only periods that divide this number, e.g. an encoder's total stride.
        low: Ratios are greater than this.
        high: Ratios are smaller than this.

    Source:
        rescale §4.2 for the interval (1, 2).
    """
    reduced = {
        Ratio(a, b)
        for a in range(1, max_period + 1)
        for b in range(1, a + 1)
        if math.gcd(a, b) == 1 and low < a / b < high and (dividing is None or dividing % a == 0)
    }
    return tuple(sorted(reduced, key=lambda r: r.numerator / r.denominator, reverse=True))


STRIDE_16 = ratios(16, dividing=16, low=1.1)
"""16/9 8/5 16/11 4/3 16/13 8/7: periods that divide a total stride of 16.

Xception halves its maps five times and averages the last one, so it sees a patch through a grid of one cell every 32
pixels; the demo's small encoder halves them four times, which makes cells of 16 pixels. If the period divides this
stride, every cell meets the lattice at the same phase and the average keeps it; otherwise the cells meet it at
several phases and the average removes what tells the phases apart. Periods that divide 16 suit both encoders. 16/15
has such a period too, but is so close to 1 that hardly a pixel is interpolated differently from its neighbour.
"""


def period(ratio: Ratio) -> int:
    """Destination pixels after which the interpolation weights repeat: the numerator of the reduced ratio.

    Source:
        rescale §3: the denominator of w_src / w_dst in reduced form.
    """
    return ratio.numerator


def phase(position: int, ratio: Ratio) -> int:
    """Where in the period a destination coordinate lies, from 0 to period - 1."""
    return position % period(ratio)


def taps(
    position: Int64[Tensor, "*n"], ratio: Ratio | tuple[Tensor, Tensor]
) -> tuple[Int64[Tensor, "*n"], Float[Tensor, "*n"]]:
    """The left source neighbour of destination coordinates and the weight of the right one.

    The neighbour may be -1, or the last source pixel: both lie half a pixel within the border, where Eq. 1
    leaves the source; the caller repeats the border pixel.

    Args:
        position: Destination coordinates.
        ratio: One ratio, or numerators and denominators that broadcast with ``position``.

    Source:
        rescale Eq. 1 and 2, with numerator and denominator kept apart: floor and remainder of
        ((2 x + 1) b - a) / (2 a).
    """
    a, b = (ratio.numerator, ratio.denominator) if isinstance(ratio, Ratio) else ratio
    doubled = (2 * position + 1) * b - a
    left = torch.div(doubled, 2 * a, rounding_mode="floor")
    return left, ((doubled - 2 * a * left).double() / (2 * a)).float()


def upscale(images: Shaped[Tensor, "*b h w"], ratio: Ratio) -> Float[Tensor, "*b h2 w2"]:
    """Rescale images bilinearly by an exact ratio, without anti-aliasing.

    Equal to ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``; the size is rounded
    down.

    Args:
        images: Any real values; integers are taken as they are.
        ratio: Scale factor.

    Source:
        rescale Eq. 1, 2 and Fig. 2.
    """
    x = images if images.is_floating_point() else images.float()
    for axis in (-2, -1):
        n = x.shape[axis]
        left, weight = taps(torch.arange(ratio.scaled(n)), ratio)
        shape = (-1, 1) if axis == -2 else (-1,)
        first = x.index_select(axis, left.clamp(0, n - 1).to(x.device))
        second = x.index_select(axis, (left + 1).clamp(0, n - 1).to(x.device))
        x = torch.lerp(first, second, weight.to(x).reshape(shape))
    return x


def diagonal_patches(image: Shaped[Tensor, "c h w"], *, patch_size: int = 128, count: int = 128) -> Tensor:
    """Patches along the main diagonal, one pixel apart: (count, c, patch_size, patch_size), a view.

    Args:
        image: A crop of at least patch_size + count - 1 pixels a side; the paper takes 256.
        patch_size: Side of a patch.
        count: Number of patches, with top left corners (0, 0), (1, 1), ...

    Raises:
        UserError: the image is too small.

    Source:
        rescale §5, Fig. 5.
    """
    needed = patch_size + count - 1
    if min(image.shape[1:]) < needed:
        raise UserError(f"the image is {image.shape[2]}x{image.shape[1]}; {count} patches need {needed} a side.")
    windows = image.unfold(1, patch_size, 1).unfold(2, patch_size, 1)
    return windows.diagonal(dim1=1, dim2=2).movedim(-1, 0)[:count]
