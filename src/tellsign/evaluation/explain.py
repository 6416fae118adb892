"""What a detector looks at, and what its features know: class activation, similarity of patches, t-SNE.

The papers name neither the library nor the layer of their class activation maps. The choices here: Grad-CAM
(Selvaraju et al. 2017), because CLIP's pooling by attention has none of the weights that the CAM of Zhou
et al. (2016) needs; on the backbone's last spatial map (of a vision transformer the first norm of the last
block, without its class token; of a ResNet the last stage); for the logit of "fake", or its negative for
"real", as there is one logit for two classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tellsign.errors import choose


class MappedBackbone(Protocol):
    """What Grad-CAM needs of a backbone: features, and the spatial map that lies on their way."""

    def with_map(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b k h2 w2"]]:
        """Features and the map from which they were computed."""
        ...


def _fake(logits: Float[Tensor, " b"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
    return logits


def _real(logits: Float[Tensor, " b"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
    return -logits


def _label(logits: Float[Tensor, " b"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
    return torch.where(labels == 1, logits, -logits)


TARGETS: dict[str, Callable[[Float[Tensor, " b"], Int64[Tensor, " b"]], Float[Tensor, " b"]]] = {
    "fake": _fake,
    "real": _real,
    "label": _label,
}
"""What the map explains: the evidence for fake, for real, or for each image's own label."""


def grad_cam(maps: Float[Tensor, "b k h w"], gradients: Float[Tensor, "b k h w"]) -> Float[Tensor, "b h w"]:
    """Grad-CAM from a map and the target's gradient on it (Selvaraju et al. 2017, Eq. 1 and 2).

    ``alpha_k`` is the mean of the gradient over the places of channel k; the map is ``relu(sum_k
    alpha_k A_k)``, not scaled.
    """
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * maps).sum(dim=1).relu()


def class_activation(
    backbone: MappedBackbone,
    head: Callable[[Float[Tensor, "b d"]], Float[Tensor, " b"]],
    x: Float[Tensor, "b c h w"],
    labels: Int64[Tensor, " b"],
    target: str,
) -> tuple[Float[Tensor, "b h2 w2"], Float[Tensor, " b"]]:
    """Grad-CAM of a detector for preprocessed images, and its scores p(fake).

    The backbone must be in evaluation mode: batch statistics would let one image explain another.

    Args:
        backbone: Gives features and map; its parameters may be frozen.
        head: Features to logits of "fake".
        x: Preprocessed images.
        labels: 0 real, 1 fake; read by target ``label`` only.
        target: Name in `TARGETS`.

    Raises:
        UserError: the target is unknown.
    """
    aim = choose(TARGETS, target, "CAM target")
    with torch.enable_grad():
        features, maps = backbone.with_map(x.detach().requires_grad_())
        logits = head(features).reshape(len(x))
        (gradients,) = torch.autograd.grad(aim(logits, labels).sum(), maps)
    return grad_cam(maps, gradients).detach(), logits.detach().sigmoid()


def as_share(maps: Float[np.ndarray, "n h w"], scale: str) -> Float[np.ndarray, "n h w"]:
    """Maps divided by the greatest value of all (``row``) or of each (``image``); all-zero maps stay zero.

    ``row`` keeps what MPFT §5.5 argues with: how strongly one image is answered in comparison with another.

    Raises:
        UserError: the scale is unknown.
    """
    axes = choose({"row": (0, 1, 2), "image": (1, 2)}, scale, "CAM scale")
    greatest = maps.max(axis=axes, keepdims=True)
    return maps / np.where(greatest > 0, greatest, 1)


def cosine_similarity(features: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Cosine similarity of every pair of vectors; of patches along a diagonal it is rescale's Fig. 5."""
    unit = torch.nn.functional.normalize(features, dim=1)
    return unit @ unit.T


def offset_means(similarity: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    """Mean of each diagonal: entry k is the mean similarity of patches k steps apart."""
    return np.array([np.diagonal(similarity, k).mean() for k in range(len(similarity))])


def tsne(features: Float[np.ndarray, "n d"], seed: int) -> Float[np.ndarray, "n 2"]:
    """t-SNE (van der Maaten & Hinton 2008) by scikit-learn.

    The papers state no settings; these are scikit-learn's: perplexity 30 (a third of the other points when
    there are fewer than 91), start from the first two principal components, automatic learning rate,
    Euclidean distance.

    Raises:
        ValueError: fewer than four points.
    """
    from sklearn.manifold import TSNE

    if len(features) < 4:
        raise ValueError(f"t-SNE needs at least four points, not {len(features)}")
    perplexity = min(30.0, (len(features) - 1) / 3)
    model = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed, n_jobs=1)
    return model.fit_transform(np.ascontiguousarray(features, dtype=np.float32))
