"""DRCT: an embedding drawn together within a label and apart between labels, on a ConvNeXt or a frozen CLIP.

Written from Chen et al. (2024), "DRCT: Diffusion Reconstruction Contrastive Training towards Universal Detection of
Diffusion Generated Images" (ICML 2024). Where its public code decides what the paper leaves open, the place says so.
Reconstructions are training images like others, with the label fake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.detectors.on_clip import ClipMethod, ClipNetwork, tower_of
from tellsign.detectors.on_crops import IMAGENET_MEAN, IMAGENET_STD
from tellsign.networks.backbones.backbone import Backbone, Standardise

MARGIN = 1.0
"""Distance from which on embeddings of different labels no longer repel each other (public code)."""


class Drct(ClipNetwork):
    """DRCT. Names of layers are those of the public code.

    Args:
        tower: A network of timm, which is trained whole, or a CLIP's image tower, which stays frozen.
        width: Of the embedding.
    """

    def __init__(self, tower: Backbone, width: int) -> None:
        super().__init__()
        # ImageNet's statistics, in front of a CLIP as well (public code)
        own = not isinstance(tower.front, Standardise)
        self.front = tower.front if own else Standardise(IMAGENET_MEAN, IMAGENET_STD)
        if hasattr(tower.net, "reset_classifier"):
            self.model = tower.net
            tower.net.reset_classifier(width)  # pyright: ignore[reportCallIssue]
        else:
            clip = nn.ModuleDict({"visual": tower.net.requires_grad_(False)})
            self.model = nn.ModuleDict({"model": clip, "fc": nn.Linear(tower.dim, width)})
        self.fc = nn.Linear(width, 2)

    def embedding(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width"]:
        """What the loss compares, for preprocessed images; not normalised."""
        if not isinstance(self.model, nn.ModuleDict):
            return self.model(x)
        with torch.no_grad():
            features = self.model.get_submodule("model.visual")(x)
        return self.model["fc"](features)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Logits of fake of preprocessed images: the difference of two outputs, whose sigmoid is their softmax."""
        real, fake = self.fc(self.embedding(x)).unbind(1)
        return fake - real


def contrastive(embedding: Float[Tensor, "b width"], labels: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
    """Distances d on the unit sphere: mean d of pairs of one label, plus mean (1 - d) of pairs of two.

    Pairs without a value above 0 do not count in their mean; a mean over no pair is 0 (public code).
    """
    unit = F.normalize(embedding.float() if embedding.dtype == torch.bfloat16 else embedding, dim=1)
    rows, columns = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
    distances = (unit[rows] - unit[columns]).norm(dim=1)
    same = labels[rows] == labels[columns]
    loss = unit.new_zeros(())
    for terms in (distances[same], (MARGIN - distances[~same]).relu()):
        loss = loss + terms.sum() / (terms > 0).sum().clamp(min=1)
    return loss


def drct_loss(
    embedding: Float[Tensor, "b width"], outputs: Float[Tensor, "b 2"], labels: Int64[Tensor, " b"], share: float
) -> Float[Tensor, ""]:
    """Cross-entropy and `contrastive`, which has a share of the whole."""
    return (1 - share) * F.cross_entropy(outputs, labels) + share * contrastive(embedding, labels)


class DrctMethod(ClipMethod):
    """`Drct` on crops."""

    down = True
    unused = re.compile(
        r"model\.model\.(positional_embedding|text_projection|logit_scale|token_embedding\.weight"
        r"|ln_final\.(weight|bias)|transformer\.resblocks\.\d+\..*)"
    )
    """The text tower."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> Drct:
        """See `ClipMethod.network`."""
        return Drct(tower_of(settings), settings["width"])

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """See `drct_loss`."""
        assert isinstance(self.model, Drct)
        embedding = self.model.embedding(self.preprocess(pixels))
        return drct_loss(embedding, self.model.fc(embedding), labels, self.settings["share"])
