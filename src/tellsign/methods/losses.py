"""Losses of the four papers, each beside its equation.

All take raw network outputs (logits, features), work in float32 at least whatever autocast made of them,
and return a scalar. Labels: 0 real, 1 fake; for the contrastive loss any integers that name a class.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from tellsign.errors import UserError


def binary_cross_entropy(logits: Float[Tensor, " b"], labels: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean of -(y log p + (1 - y) log(1 - p)) with p = sigmoid(logit).

    Source:
        MPFT §4.3 and LoL §4.1 name it; rescale names no loss for its two-class fine-tuning and uses this
        one too. TIDY Eq. 8 prints the sum over the mini-batch for the softmax of two outputs; their difference is this
        logit, and Adam's steps cancel the batch size.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), labels.float())


def supervised_contrastive(
    features: Float[Tensor, "n d"],
    labels: Int64[Tensor, " n"],
    temperature: float,
    *,
    normalise: bool = True,
    reduction: str = "sum",
) -> Float[Tensor, ""]:
    """Supervised contrastive loss, the "out" form: the average over positives stands outside the logarithm.

    For each anchor i with positives P(i) (same label, not i itself):
    -1/|P(i)| Σ_p log( exp(z_i·z_p/τ) / Σ_{j≠i} exp(z_i·z_j/τ) ).
    An anchor without positives has no term: 1/|P(i)| is undefined there. Without any positive the loss is 0.

    Args:
        features: z, outputs of the projection head.
        labels: Class of each row.
        temperature: τ. The paper gives none; Khosla et al. (2020) publish 0.07.
        normalise: Project z on the unit sphere first, as Khosla et al. do; the paper prints z·z only.
        reduction: ``sum`` over anchors as printed in Eq. 4, or ``mean`` over the anchors that have positives.

    Raises:
        UserError: unknown reduction, or a temperature that is not positive.

    Source:
        rescale Eq. 4.
    """
    if temperature <= 0:
        raise UserError(f"temperature is {temperature}; it must be positive, e.g. 0.07.")
    if reduction not in ("sum", "mean"):
        raise UserError(f"unknown reduction {reduction!r}; known: mean, sum.")
    # autocast would run the product in half precision; at τ = 0.07 its error is as large as what is compared
    with torch.autocast(features.device.type, enabled=False):
        z = features if features.dtype == torch.float64 else features.float()
        z = F.normalize(z, dim=1) if normalise else z
        similarity = z @ z.T / temperature
    self_pair = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (labels[:, None] == labels) & ~self_pair
    # the smallest finite number rather than -inf: a row of one would otherwise have a gradient of nan
    others = similarity.masked_fill(self_pair, torch.finfo(z.dtype).min)
    log_share = similarity - others.logsumexp(1, keepdim=True)
    count = positive.sum(1)
    terms = -log_share.where(positive, log_share.new_zeros(())).sum(1) / count.clamp(min=1)
    return terms.sum() if reduction == "sum" else terms.sum() / (count > 0).sum().clamp(min=1)
