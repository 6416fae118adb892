"""What shows whether contrastive pre-training learns: pure functions of features, labels and photographs.

A supervised contrastive loss has a plateau on which every patch is projected to the same point. Its loss there is that
of a guess among the batch (`chance_loss`) and its gradient all but vanishes, so that a training can stay there to its
end. `mean_cosine` and `contrast` of the training batches show it within some hundred steps, `retrieval` on photographs
that were held out shows what was learnt.

All compute in double precision: on the plateau cosines differ by less than single precision resolves.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

TIE = 1e-6
"""Cosines that differ by less are equal: features in single precision do not tell them apart reliably."""

FLAT = 1e-12
"""A spread of cosines below this is rounding: the features are constant."""


def cosines(features: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Cosine of every pair of rows, -1 to 1; a row of zeros has cosine 0 with all."""
    z = F.normalize(features.detach().double(), dim=1)
    return z @ z.T


def mean_cosine(cosine: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Mean `cosines` of all pairs of different rows, -1 to 1; near 1 the features are one point.

    A single row has no pair: nan.
    """
    n = len(cosine)
    return (cosine.sum() - cosine.trace()) / (n * (n - 1))


def contrast(
    cosine: Float[Tensor, "n n"], labels: Int64[Tensor, " n"], images: Int64[Tensor, " n"]
) -> Float[Tensor, ""]:
    """How much nearer equal labels lie than different ones: (mean cosine of positives - of negatives) / (1 - mean).

    Only pairs of different photographs count: two patches of one photograph are alike whatever their lattice. 0 means
    that labels do not show, 1 at most that they are all that shows (two labels on opposite points give 2); constant
    features give 0. Early in a training it must be averaged over some dozen batches: one batch alone is noisy.

    Args:
        cosine: `cosines` of the features, one row a patch.
        labels: What makes two patches a positive pair: the ratio, or ratio and phase.
        images: The photograph of each patch.

    Returns:
        The statistic, on the device of the cosines, or nan where the batch has no pair of one kind.
    """
    other = (images[:, None] != images).to(cosine.device)
    positive = (labels[:, None] == labels).to(cosine.device) & other

    def mean(pairs: Bool[Tensor, "n n"]) -> Float[Tensor, ""]:
        return (cosine * pairs).sum() / pairs.sum()

    difference, spread = mean(positive) - mean(other & ~positive), 1 - mean(other)
    return torch.where((spread > FLAT) | difference.isnan(), difference / spread, 0.0)


def chance_loss(labels: Int64[Tensor, " n"], reduction: str) -> float:
    """Supervised contrastive loss of features that are one point: ln(n - 1) for each anchor that has a positive.

    It follows from Eq. 4 of rescale: with equal cosines each of the n - 1 others has the share 1/(n - 1) of the sum, at
    any temperature.

    Args:
        labels: Class of each row of the batch.
        reduction: ``sum`` over anchors or ``mean``, as in `tellsign.methods.losses.supervised_contrastive`.
    """
    counts = labels.unique(return_counts=True)[1]
    anchors = int(counts[counts > 1].sum())
    an_anchor = math.log(max(len(labels) - 1, 1))
    return an_anchor * anchors if reduction == "sum" else an_anchor * (anchors > 0)


def retrieval(features: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], images: Int64[Tensor, " n"]) -> float:
    """Share of patches whose nearest neighbour among patches of *other* photographs has the same label, 0 to 1.

    Ties do not count as hits: where several neighbours are equally near (`TIE`), the patch counts with the share of
    them that have its label. Constant features thus score `retrieval_by_chance` and no more.

    Args:
        features: One row a patch.
        labels: What must agree.
        images: The photograph of each patch; there must be two or more.
    """
    other = images[:, None] != images
    cosine = cosines(features).masked_fill(~other, -math.inf)
    nearest = cosine >= cosine.amax(1, keepdim=True) - TIE
    return _hit_rate(nearest & other, labels)


def retrieval_by_chance(labels: Int64[Tensor, " n"], images: Int64[Tensor, " n"]) -> float:
    """What `retrieval` gives when the features tell nothing: the share of equal labels among other photographs."""
    return _hit_rate(images[:, None] != images, labels)


def _hit_rate(candidates: Bool[Tensor, "n n"], labels: Int64[Tensor, " n"]) -> float:
    """Mean over rows of the share of the row's candidates that have its label."""
    hits = candidates & (labels[:, None] == labels)
    return float((hits.sum(1).double() / candidates.sum(1)).mean())
