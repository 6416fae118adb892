"""Texture-aware masking (MPFT)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tellsign.errors import UserError, choose
from tellsign.methods.masks.draws import Range, uniform
from tellsign.schema.fields import Fraction, Interval, Positive
from tellsign.schema.settings import Settings
from tellsign.system.devices import sent

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float, Int64
    from torch import Tensor


class TextureAware(Settings):
    """MPFT's texture-aware masking (Algorithm 1). The text draws r for "the image", hence ``ratio_per: image``."""

    name: Literal["texture_aware"]
    ratio: Interval[Fraction] = (0.6, 0.8)
    patch_size: Positive[int] = 14
    which: Literal["high", "low", "both"] = "high"
    ratio_per: Literal["image", "batch"] = "image"


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


def front_and_end(which: str, count: Int64[Tensor, " b"]) -> tuple[Tensor, Tensor]:
    """How many of the ``count`` hidden patches are taken from the front and from the end of the texture order."""
    shares = {
        "high": lambda: (count, count * 0),
        "low": lambda: (count * 0, count),
        "both": lambda: (count - count // 2, count // 2),
    }
    return choose(shares, which, "texture (which)")()


def texture_aware(
    x: Float[Tensor, "b c h w"],
    generator: torch.Generator,
    *,
    ratio: Range,
    patch_size: int,
    which: str,
    ratio_per: str,
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
    import torch

    b, _, h, w = x.shape
    if not 2 <= patch_size <= min(h, w):
        raise UserError(f"patch_size is {patch_size}; images of {h}x{w} allow 2 to {min(h, w)}.")
    draws = choose({"image": b, "batch": 1}, ratio_per, "ratio_per of the mask")
    r = uniform(ratio, draws, generator, what="mask ratio").expand(b)
    diversity = texture_diversity(x, patch_size)
    rows, columns = diversity.shape[1:]
    n = rows * columns
    front, end = front_and_end(which, sent((r * n).long(), x.device))
    order = diversity.reshape(b, n).sort(dim=1, descending=True, stable=True).indices
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(n, device=x.device).expand(b, n))
    hidden = (rank < front[:, None]) | (rank >= n - end[:, None])
    mask = x.new_ones(b, 1, h, w)
    cells = mask[:, 0, : rows * patch_size, : columns * patch_size]
    cells.unflatten(1, (rows, patch_size)).unflatten(3, (columns, patch_size)).masked_fill_(
        hidden.reshape(b, rows, 1, columns, 1), 0
    )
    return mask
