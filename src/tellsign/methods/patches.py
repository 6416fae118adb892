"""Batches of patches that differ in ratio and phase alone: what rescale's pre-training draws and cuts.

The lattices themselves are in `tellsign.methods.lattice`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

from tellsign.errors import UserError
from tellsign.methods.lattice import Ratio, period, taps

CPU_GROUP = 16
SHUFFLED = 65_536
"""Up to this many images, those of a batch are the first of all in a random order; a million would take longer to
shuffle (16 ms) than a batch to train on, and are drawn from one by one."""


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
