"""Image-text discrepancy in a joint vision-language space (TIDY).

What the whole image and its objects say, minus what their texts say.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from tellsign.errors import UserError

USES = ("both", "global", "local", "image", "text")
NO_OBJECT = ("global", "zero")


def mean_by_row(
    values: Float[Tensor, "m d"], row: Int64[Tensor, " m"], n: int
) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"]]:
    """Mean of the values of each row, and how many there were; rows without values are zero.

    Source:
        TIDY Eq. 5.
    """
    count = torch.zeros(n, dtype=torch.int64, device=row.device).index_add_(0, row, torch.ones_like(row))
    total = values.new_zeros(n, values.shape[1]).index_add_(0, row, values)
    return total / count.clamp(min=1)[:, None], count


def discrepancy(
    image: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    object_image: Float[Tensor, "m d"],
    object_text: Float[Tensor, "m d"],
    object_row: Int64[Tensor, " m"],
    *,
    use: str = "both",
    weights: tuple[float, float] = (1.0, 1.0),
    normalise: bool = True,
    no_object: str = "global",
) -> Float[Tensor, "n d"]:
    """D = w1 |I - T| + w2 mean_i |I_i - T_i|, the representation TIDY's classifier sees.

    Args:
        image: I, CLIP embeddings of the whole images.
        text: T, CLIP embeddings of their captions.
        object_image: I_i, embeddings of the boxes of all images, in any order.
        object_text: T_i, embeddings of the phrases those boxes were found for.
        object_row: For each object the row of its image.
        use: ``both`` (Eq. 6); ``global`` or ``local``: that term of Eq. 6 alone (Fig. 5 of the paper);
            ``image`` or ``text``: I or T itself, the single modalities of Fig. 4.
        weights: w1 of the global and w2 of the local distance; both are 1 in the paper.
        normalise: Scale every embedding to length 1 first. The paper's equations do not; its argument for the
            difference (coherence with the cosine) holds for unit vectors, and without it |I - T| follows
            lengths.
        no_object: D_l of an image without objects, where Eq. 5 divides by zero: ``global`` takes D_g, which
            keeps the scale of D; ``zero`` takes 0.

    Raises:
        UserError: unknown ``use`` or ``no_object``, or an object whose row is no image's.

    Source:
        TIDY Eq. 2 to 6.
    """
    if use not in USES:
        raise UserError(f"unknown use {use!r} of the discrepancy; known: {', '.join(USES)}.")
    if no_object not in NO_OBJECT:
        raise UserError(f"unknown no_object {no_object!r}; known: {', '.join(NO_OBJECT)}.")
    if len(object_row) and not 0 <= int(object_row.min()) <= int(object_row.max()) < len(image):
        span = f"{int(object_row.min())} to {int(object_row.max())}"
        raise UserError(f"object rows go from {span}, images from 0 to {len(image) - 1}.")
    if normalise:
        image, text, object_image, object_text = (
            F.normalize(v, dim=1) for v in (image, text, object_image, object_text)
        )
    if use == "image":
        return image
    if use == "text":
        return text
    overall = (image - text).abs()
    if use == "global":
        return weights[0] * overall
    local, count = mean_by_row((object_image - object_text).abs(), object_row, len(image))
    substitute = overall if no_object == "global" else torch.zeros_like(overall)
    local = torch.where((count > 0)[:, None], local, substitute)
    return weights[1] * local if use == "local" else weights[0] * overall + weights[1] * local
