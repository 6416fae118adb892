"""Masks that hide part of a training image: texture-aware (MPFT), random box (LoL), and MPFT's rivals.

Every mask is a function of a batch of preprocessed (normalised) images that returns zeros where the image is
hidden and ones elsewhere; the caller multiplies. A hidden pixel thus takes the value 0 of the normalised
tensor, the mean colour of the backbone's normalisation (MPFT Eq. 2).

All draws are made per image, in float64, on the CPU generator that is passed in, and moved to the images'
device afterwards: the same seed gives the same boxes on any device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from tellsign.errors import UserError, choose

Range = tuple[float, float]

ASPECTS = (1e-3, 1e3)
ERASING_ATTEMPTS = 10


def uniform(
    bounds: Range,
    count: int,
    generator: torch.Generator,
    *,
    what: str,
    limits: Range = (0.0, 1.0),
    logarithm: bool = False,
) -> Float64[Tensor, " count"]:
    """Draw ``count`` numbers uniformly, or uniformly in their logarithm, from ``bounds``.

    Raises:
        UserError: the bounds are swapped or beyond ``limits``.
    """
    low, high = bounds
    if not limits[0] <= low <= high <= limits[1]:
        raise UserError(
            f"{what} is ({low}, {high}); it must be two numbers, the smaller first, within {limits[0]} and {limits[1]}."
        )
    share = torch.rand(count, generator=generator, dtype=torch.float64)
    return low * (high / low) ** share if logarithm else low + (high - low) * share


def integers(bounds: Int64[Tensor, " count"], generator: torch.Generator) -> Int64[Tensor, " count"]:
    """Draw one integer from 0 to each bound, both ends included."""
    return (torch.rand(len(bounds), generator=generator, dtype=torch.float64) * (bounds + 1)).long()


def texture_diversity(x: Float[Tensor, "b c h w"], patch_size: int) -> Float[Tensor, "b rows columns"]:
    """Texture diversity L_div of every patch: |differences| of neighbours, summed in four directions.

    The grey value is the mean over the channels of the tensor as it comes, i.e. of the normalised image,
    without luma weights. Rows or columns left over when the size is no multiple of ``patch_size`` belong to
    no patch.

    Source:
        MPFT Eq. 1, Algorithm 1 lines 2-6, Appendix B (M patches' pixels: M(M-1) horizontal and vertical,
        (M-1)² diagonal and anti-diagonal pairs).
    """
    b, _, h, w = x.shape
    p, rows, columns = patch_size, h // patch_size, w // patch_size
    grey = x.float().mean(1)[:, : rows * p, : columns * p].reshape(b, rows, p, columns, p)
    up, down = grey[:, :, :-1], grey[:, :, 1:]
    horizontal = (grey[..., :-1] - grey[..., 1:]).abs_().sum((2, 4))
    vertical = (up - down).abs_().sum((2, 4))
    diagonal = (up[..., :-1] - down[..., 1:]).abs_().sum((2, 4))
    anti_diagonal = (down[..., :-1] - up[..., 1:]).abs_().sum((2, 4))
    return horizontal + vertical + diagonal + anti_diagonal


TEXTURES: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "high": lambda count: (count, torch.zeros_like(count)),
    "low": lambda count: (torch.zeros_like(count), count),
    "both": lambda count: (count - count // 2, count // 2),
}
"""How many of the hidden patches are taken from the front and from the end of the texture order."""


def texture_aware(
    x: Float[Tensor, "b c h w"],
    generator: torch.Generator,
    *,
    ratio: Range,
    patch_size: int,
    which: str = "high",
    ratio_per: str = "image",
) -> Float[Tensor, "b 1 h w"]:
    """Texture-aware masking (TAM): hide the patches with the most texture.

    One order is made: descending L_div, and where patches tie, the one with the lower (row-major) index
    first. ``high`` hides the front of the order, ``low`` its end, ``both`` as much from the front as from
    the end (an odd patch goes to the front) with the same total. So ``high`` of k patches and ``low`` of
    N-k are complements.

    Args:
        x: Preprocessed images.
        generator: Draws the ratio of each image.
        ratio: Range of the fraction r of patches to hide; floor(N r) of the N whole patches are hidden.
        patch_size: Side of a patch in pixels. Pixels outside whole patches are never hidden.
        which: ``high``, ``low`` or ``both``.
        ratio_per: ``image``: each image has its own r, as the text says ("the image"); ``batch``: all have one.

    Raises:
        UserError: bad ratio, unknown ``which`` or ``ratio_per``, or a patch larger than the image.

    Source:
        MPFT Algorithm 1; variants of Table 4; the ratio's range of Appendix C.1 and Table 8.
    """
    shares = choose(TEXTURES, which, "texture (which)")
    b, _, h, w = x.shape
    if not 2 <= patch_size <= min(h, w):
        raise UserError(f"patch_size is {patch_size}; images of {h}x{w} allow 2 to {min(h, w)}.")
    draws = choose({"image": b, "batch": 1}, ratio_per, "ratio_per of the mask")
    r = uniform(ratio, draws, generator, what="mask ratio").expand(b)
    diversity = texture_diversity(x, patch_size)
    rows, columns = diversity.shape[1:]
    n = rows * columns
    front, end = shares((r * n).long().to(x.device))
    order = diversity.reshape(b, n).sort(dim=1, descending=True, stable=True).indices
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(n, device=x.device).expand(b, n))
    hidden = (rank < front[:, None]) | (rank >= n - end[:, None])
    mask = x.new_ones(b, 1, h, w)
    cells = mask[:, 0, : rows * patch_size, : columns * patch_size]
    cells.unflatten(1, (rows, patch_size)).unflatten(3, (columns, patch_size)).masked_fill_(
        hidden.reshape(b, rows, 1, columns, 1), 0
    )
    return mask


def _boxes(
    x: Tensor,
    top: Int64[Tensor, " b"],
    left: Int64[Tensor, " b"],
    height: Int64[Tensor, " b"],
    width: Int64[Tensor, " b"],
) -> Float[Tensor, "b 1 h w"]:
    """Zeros inside one box an image (clipped to the image), ones elsewhere."""
    h, w = x.shape[-2:]
    top, left, height, width = (v.to(x.device)[:, None] for v in (top, left, height, width))
    row, column = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    inside_rows: Bool[Tensor, "b h"] = (row >= top) & (row < top + height)
    inside_columns: Bool[Tensor, "b w"] = (column >= left) & (column < left + width)
    return (~(inside_rows[:, None, :, None] & inside_columns[:, None, None, :])).to(x.dtype)


def random_box(
    x: Float[Tensor, "b c h w"],
    generator: torch.Generator,
    *,
    ratio: Range,
    aspect: Range = (0.33, 3.0),
    literal: bool = False,
    distribution: str = "uniform",
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
    return _boxes(x, top, left, height, width)


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
    return _boxes(x, top, left, side, side)


def grid_mask(
    x: Float[Tensor, "b c h w"],
    generator: torch.Generator,
    *,
    ratio: Range,
    period: Range = (96 / 224, 1.0),
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
    b, _, h, w = x.shape
    r = uniform(ratio, b, generator, what="mask ratio")
    d = (min(h, w) * uniform(period, b, generator, what="grid period")).round().long().clamp(min=1)
    side = (d * r.sqrt()).round().long()
    shifts = integers(d - 1, generator), integers(d - 1, generator)
    d, side, down, right = (v.to(x.device)[:, None] for v in (d, side, *shifts))
    rows = (torch.arange(h, device=x.device) + down) % d < side
    columns = (torch.arange(w, device=x.device) + right) % d < side
    return (~(rows[:, None, :, None] & columns[:, None, None, :])).to(x.dtype)


def random_erasing(
    x: Float[Tensor, "b c h w"],
    generator: torch.Generator,
    *,
    ratio: Range,
    aspect: Range = (0.3, 3.3),
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
    tries = b * ERASING_ATTEMPTS
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
    return _boxes(x, top, left, height, width)


def none(x: Float[Tensor, "b c h w"], generator: torch.Generator) -> Float[Tensor, "b 1 h w"]:
    """Hide nothing and draw nothing: direct fine-tuning, the papers' base model."""
    return x.new_ones(x.shape[0], 1, *x.shape[-2:])


MASKS: dict[str, Callable[..., Tensor]] = {
    "none": none,
    "texture_aware": texture_aware,
    "random_box": random_box,
    "cutout": cutout,
    "grid_mask": grid_mask,
    "random_erasing": random_erasing,
}
"""``mask(x, generator, **settings)`` by name."""
