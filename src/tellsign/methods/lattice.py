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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

from tellsign.errors import UserError

CPU_GROUP = 16
SHUFFLED = 65_536
"""Up to this many images, those of a batch are the first of all in a random order; a million would take longer to
shuffle (16 ms) than a batch to train on, and are drawn from one by one."""


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
    found = {
        Ratio(a, b)
        for a in range(1, max_period + 1)
        for b in range(1, a + 1)
        if math.gcd(a, b) == 1 and low < a / b < high and (dividing is None or dividing % a == 0)
    }
    return tuple(sorted(found, key=lambda r: r.numerator / r.denominator, reverse=True))


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


class PatchBatch(NamedTuple):
    """Patches for contrastive learning and what each one is.

    Attributes:
        patches: Pixels, 0 to 255; uint8 when quantised.
        label: Class of the pair rule: equal for equal ratio and phase, numbered from 0 in this batch.
        ratio: Index into the list of ratios.
        phase: Phase of the patch's top and left.
        image: Index into the list of images.
        position: Top and left in the rescaled image.
    """

    patches: Shaped[Tensor, "n 3 p p"]
    label: Int64[Tensor, " n"]
    ratio: Int64[Tensor, " n"]
    phase: Int64[Tensor, "n 2"]
    image: Int64[Tensor, " n"]
    position: Int64[Tensor, "n 2"]


def smallest_side(choices: Sequence[Ratio], *, n_patches: int, patch_size: int) -> int:
    """Side an image needs for ``sample_batch``: room for ``n_patches`` places at every ratio and phase."""
    per_axis = math.isqrt(n_patches - 1) + 1
    needed = [(patch_size + per_axis * r.numerator - 1, r) for r in choices]
    return max(-(-length * r.denominator // r.numerator) for length, r in needed)


def _distinct(high: Int64[Tensor, " m"], count: int, generator: torch.Generator) -> Int64[Tensor, "m count"]:
    """For each bound draw ``count`` distinct integers below it, every set being equally likely; sorted."""
    u = torch.rand(len(high), count, generator=generator, dtype=torch.float64)
    drawn = high.new_empty(len(high), 0)
    for j in range(count):
        value = (u[:, j] * (high - j)).long()
        for taken in drawn.unbind(1):  # ascending, so that each one passed moves the value on by one
            value += value >= taken
        drawn = torch.cat([drawn, value[:, None]], 1).sort(1).values
    return drawn


class Draw(NamedTuple):
    """Which patches make up a batch, before a pixel is read; on the CPU.

    Attributes:
        label: Class of the pair rule: equal for equal ratio and phase, numbered from 0 in this batch.
        ratio: Index into the list of ratios.
        phase: Phase of the patch's top and left.
        image: Index into the list of images.
        position: Top and left in the rescaled image.
        size: Height and width of the image.
    """

    label: Int64[Tensor, " n"]
    ratio: Int64[Tensor, " n"]
    phase: Int64[Tensor, "n 2"]
    image: Int64[Tensor, " n"]
    position: Int64[Tensor, "n 2"]
    size: Int64[Tensor, "n 2"]

    def part(self, rows: Int64[Tensor, " m"]) -> Draw:
        """The draw of these rows alone."""
        return Draw(*(value[rows] for value in self))


def draw_batch(
    sizes: Int64[Tensor, "images 2"],
    generator: torch.Generator,
    *,
    ratios: Sequence[Ratio],
    n_ratios: int,
    n_phases: int,
    n_images: int,
    n_patches: int,
    patch_size: int,
) -> Draw:
    """Draw one contrastive batch of n_ratios x n_phases x n_images x n_patches patches.

    ``n_images`` images are drawn, ``n_ratios`` ratios, and for each ratio ``n_phases`` of its period²
    phases (all without repetition). Every drawn image gives ``n_patches`` patches at different places to
    every ratio and phase. So the positives of a patch are patches of the same and of the other images at
    the same ratio and phase, and its negatives are patches of the same images at other ratios, or at the
    same ratio and another phase: content says nothing about the class. Phases agree on both axes or they
    are different. Rows run over ratio, phase, image, patch, the last fastest.

    Args:
        sizes: Height and width of every image, from ``smallest_side`` on.
        generator: CPU generator of all draws.
        ratios: Scale ratios to choose from, in (1, 2).
        n_ratios, n_phases, n_images, n_patches: Factors of the batch size.
        patch_size: Side of a patch.

    Raises:
        UserError: a ratio outside (1, 2), too few ratios, phases or images, or an image that is too small.

    Source:
        rescale §4.2 and Fig. 4.
    """
    _check_settings(ratios, n_ratios, n_phases, n_patches)
    if not 1 <= n_images <= len(sizes):
        raise UserError(f"n_images is {n_images}, but {len(sizes)} images came.")
    chosen = _draw_images(len(sizes), n_images, generator)
    ratio = torch.randperm(len(ratios), generator=generator)[:n_ratios]
    a, b = (torch.tensor(v)[ratio] for v in zip(*((r.numerator, r.denominator) for r in ratios), strict=True))
    cell = _distinct(a * a, n_phases, generator)
    shift = torch.stack([cell // a[:, None], cell % a[:, None]], -1)
    size = sizes[chosen]
    needed = smallest_side(ratios, n_patches=n_patches, patch_size=patch_size)
    if int(size.min()) < needed:
        h, w = size[size.amin(1).argmin()].tolist()
        raise UserError(f"an image is {w}x{h}; {n_patches} patches of {patch_size} need sides of {needed} or more.")
    scaled = size * a[:, None, None] // b[:, None, None]
    places = (scaled[:, None] - patch_size - shift[:, :, None]) // a[:, None, None, None] + 1
    flat = _distinct(places.prod(-1).flatten(), n_patches, generator).reshape(n_ratios, n_phases, n_images, n_patches)
    step = torch.stack([flat // places[..., None, 1], flat % places[..., None, 1]], -1)
    position = step * a.reshape(-1, 1, 1, 1, 1) + shift[:, :, None, None]
    grid = torch.cartesian_prod(*(torch.arange(n) for n in (n_ratios, n_phases, n_images, n_patches)))
    of_ratio, of_phase, of_image, _ = grid.reshape(-1, 4).unbind(1)
    return Draw(
        label=of_ratio * n_phases + of_phase,
        ratio=ratio[of_ratio],
        phase=shift[of_ratio, of_phase],
        image=chosen[of_image],
        position=position.reshape(-1, 2),
        size=size[of_image],
    )


def _draw_images(count: int, wanted: int, generator: torch.Generator) -> Int64[Tensor, " wanted"]:
    """Draw ``wanted`` different images of ``count``."""
    if count <= SHUFFLED:
        return torch.randperm(count, generator=generator)[:wanted]
    return _distinct(torch.tensor([count]), wanted, generator)[0]


def cut_patches(
    images: Sequence[UInt8[Tensor, "3 _ _"]] | Mapping[int, UInt8[Tensor, "3 _ _"]],
    draw: Draw,
    *,
    ratios: Sequence[Ratio],
    patch_size: int,
    quantise: bool,
) -> Shaped[Tensor, "n 3 p p"]:
    """Cut the patches of a draw, or of a part of one, from rescaled images; on the images' device.

    A patch equals the same window of the whole image up-scaled by ``upscale``; only the source window it
    needs is read. Patches of one ratio and phase share one pattern of taps.

    Args:
        images: Decoded whole images by number, at least those that the draw names.
        draw: What ``draw_batch`` gave.
        ratios: The ratios it was given.
        patch_size: The side it was given.
        quantise: Round to integers (halves to even), as an image file would; returns uint8.

    Source:
        rescale Eq. 1, 2 and §4.2.
    """
    p = patch_size
    device = images[int(draw.image[0])].device
    a, b = (torch.tensor(v)[draw.ratio] for v in zip(*((r.numerator, r.denominator) for r in ratios), strict=True))
    left, weight = taps(draw.position[..., None] + torch.arange(p), (a[:, None, None], b[:, None, None]))
    q = int((left[..., -1] - left[..., 0]).max()) + 2
    start = left[..., 0]
    extent = draw.size
    # the window moves inwards where it would leave the image; taps beyond the border repeat the last pixel
    corner = start.clamp(min=0).minimum(extent - q).clamp(min=0)
    side = min(q, int(extent.min()))
    first = (left.clamp(min=0) - corner[..., None]).clamp(max=side - 1)
    second = ((left + 1).minimum(extent[..., None] - 1) - corner[..., None]).clamp(max=side - 1)
    windows = [
        images[i][:, y : y + side, x : x + side] for i, (y, x) in zip(draw.image.tolist(), corner.tolist(), strict=True)
    ]
    # on a CPU a few patches at a time stay in its cache: twice as fast; a GPU wants them all at once
    group = CPU_GROUP if device.type == "cpu" else len(windows)
    plan = [v.to(device).split(group) for v in (first, second, weight)]
    parts = []
    for k, (one, two, share) in enumerate(zip(*plan, strict=True)):
        part = _interpolate(torch.stack(windows[k * group : (k + 1) * group]), one, two, share)
        parts.append(part.round_().to(torch.uint8) if quantise else part)
    return torch.cat(parts)


def sample_batch(
    images: Sequence[UInt8[Tensor, "3 _ _"]],
    generator: torch.Generator,
    *,
    ratios: Sequence[Ratio],
    patch_size: int,
    quantise: bool,
    **factors: int,
) -> PatchBatch:
    """Draw one contrastive batch and cut it: `draw_batch`, then `cut_patches`.

    Args:
        images: Decoded whole images on one device, of any sizes from ``smallest_side`` on.
        generator, ratios, patch_size: See `draw_batch`.
        quantise: See `cut_patches`.
        factors: ``n_ratios``, ``n_phases``, ``n_images`` and ``n_patches`` of `draw_batch`.

    Raises:
        UserError: a ratio outside (1, 2), too few ratios, phases or images, or an image that is too small.
    """
    sizes = torch.tensor([image.shape[1:] for image in images])
    draw = draw_batch(sizes, generator, ratios=ratios, patch_size=patch_size, **factors)
    patches = cut_patches(images, draw, ratios=ratios, patch_size=patch_size, quantise=quantise)
    label, ratio, phase, image, position, _ = (value.to(patches.device) for value in draw)
    return PatchBatch(patches, label, ratio, phase, image, position)


def _check_settings(ratios: Sequence[Ratio], n_ratios: int, n_phases: int, n_patches: int) -> None:
    """Raise UserError for settings that cannot give a batch."""
    for ratio in ratios:
        if not ratio.denominator < ratio.numerator < 2 * ratio.denominator:
            raise UserError(f"scale ratio {ratio} is not in (1, 2); try 4/3.")
    if len(set(ratios)) < len(ratios):
        raise UserError(f"the ratios repeat: {' '.join(map(str, ratios))}; name each once.")
    if min(n_ratios, n_phases, n_patches) < 1:
        raise UserError("n_ratios, n_phases and n_patches must be at least 1.")
    if n_ratios > len(ratios):
        raise UserError(f"n_ratios is {n_ratios}, but there are {len(ratios)} ratios.")
    fewest = min(ratios, key=period)
    if n_phases > period(fewest) ** 2:
        raise UserError(f"n_phases is {n_phases}, but ratio {fewest} has {period(fewest) ** 2} phases.")


def _interpolate(
    windows: UInt8[Tensor, "n 3 q q"],
    first: Int64[Tensor, "n 2 p"],
    second: Int64[Tensor, "n 2 p"],
    weight: Float[Tensor, "n 2 p"],
) -> Float[Tensor, "n 3 p p"]:
    """Bilinear interpolation of each window at its own taps: rows first, then columns."""
    n, c = windows.shape[:2]
    p = first.shape[-1]

    def along(x: Tensor, axis: int) -> Tensor:
        shape, full = ((n, 1, p, 1), (n, c, p, x.shape[3])) if axis == 0 else ((n, 1, 1, p), (n, c, p, p))
        one, two = (x.gather(axis + 2, tap[:, axis].reshape(shape).expand(full)) for tap in (first, second))
        return torch.lerp(one, two, weight[:, axis].reshape(shape))

    return along(along(windows.float(), 0), 1)


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
