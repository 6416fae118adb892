"""RINE: class tokens of all of a frozen CLIP's blocks, weighted by learnt importances.

Written from Koutlis & Papadopoulos (2024), "Leveraging Representations from Intermediate Encoder-blocks for Synthetic
Image Detection" (arXiv 2402.19091). Where its public code decides what the paper leaves open, the place says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.data.canvases import ten_crops
from tellsign.data.pixels import PixelTable
from tellsign.detectors.on_clip import ClipMethod, ClipNetwork, tower_of, transformer_blocks
from tellsign.errors import UserError
from tellsign.methods.losses import supervised_contrastive
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.state import State

TEMPERATURE = 0.07
"""Of the contrastive loss (public code)."""


def _projection(inputs: int, width: int, layers: int) -> nn.Sequential:
    """Dropout, then layers each followed by ReLU and dropout."""
    widths = [inputs, *[width] * layers]
    steps = [(nn.Linear(one, width), nn.ReLU(), nn.Dropout(0.5)) for one in widths[:-1]]
    return nn.Sequential(nn.Dropout(0.5), *(part for step in steps for part in step))


class Rine(ClipNetwork):
    """RINE. Names of parameters and layers are those of the public code; its 4-class setting has 6.32 M trained ones.

    Args:
        tower: A CLIP's vision transformer, which stays frozen.
        projections: Layers of each of the two projections.
        width: Of the projections.
    """

    def __init__(self, tower: Backbone, projections: int, width: int) -> None:
        super().__init__()
        self.front = tower.front
        self.clip = nn.ModuleDict({"visual": tower.net}).requires_grad_(False)
        self.second_norms = [block.get_submodule(_second_norm(block)) for block in transformer_blocks(tower.net)]
        inputs = next(self.second_norms[0].parameters()).shape[0]
        self.alpha = nn.Parameter(torch.randn(1, len(self.second_norms), width))
        self.proj1 = _projection(inputs, width, projections)
        self.proj2 = _projection(width, width, projections)
        head = [part for _ in range(2) for part in (nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.5))]
        self.head = nn.Sequential(*head, nn.Linear(width, 1))

    @torch.no_grad()
    def tokens(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b blocks d"]:
        """Class tokens as the blocks' perceptrons read them: what the second norm gives out, not the block (code)."""
        found: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found.append(output[:, 0])

        handles = [norm.register_forward_hook(keep) for norm in self.second_norms]
        try:
            self.clip["visual"](x)
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack(found, dim=1)

    def mixed(self, projected: Float[Tensor, "b blocks width"]) -> Float[Tensor, "b width"]:
        """The blocks' sum, weighted for each feature apart (Eq. 4)."""
        return (self.alpha.softmax(1) * projected).sum(1)

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b width"]:
        """What the head reads and the contrastive loss compares, for preprocessed images."""
        return self.proj2(self.mixed(self.proj1(self.tokens(x).float())))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Logits of fake of preprocessed images."""
        return self.head(self.features(x))[:, 0]


def _second_norm(block: nn.Module) -> str:
    """The name of a block's second norm, open_clip's or the demo's."""
    return "ln_2" if hasattr(block, "ln_2") else "norm_2"


def rine_loss(
    logits: Float[Tensor, " b"], features: Float[Tensor, "b width"], labels: Int64[Tensor, " b"], factor: float
) -> Float[Tensor, ""]:
    """Binary cross-entropy plus a supervised contrastive loss of the features on the unit sphere (Eq. 7).

    The former is the sum over the batch, the latter the mean over all anchors; one without a positive counts as 0
    (public code).

    Args:
        logits: Of fake.
        features: Not normalised.
        labels: 0 real, 1 fake.
        factor: Of the contrastive loss.
    """
    entropy = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="sum")
    return entropy + factor * supervised_contrastive(features, labels, TEMPERATURE) / len(labels)


class RineMethod(ClipMethod):
    """`Rine` on crops."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> Rine:
        """See `ClipMethod.network`."""
        return Rine(tower_of(settings), settings["projections"], settings["width"])

    @classmethod
    def added(cls, own: State, stored: State) -> dict[str, Tensor]:
        """See `ClipMethod.added`: published files hold the trained part alone, all or nothing of the CLIP."""
        held = any(name.startswith("clip.") for name in stored)
        return {name: value for name, value in own.items() if name.startswith("clip.") and not held}

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """See `rine_loss`."""
        assert isinstance(self.model, Rine)
        features = self.model.features(self.preprocess(pixels))
        return rine_loss(self.model.head(features)[:, 0], features, labels, self.settings["factor"])

    def views(self, table: PixelTable, rows: Int64[Tensor, " b"]) -> UInt8[Tensor, "b v 3 s s"]:
        """See `ClipMethod.views`; or ten crops.

        Raises:
            UserError: an image is too small for ten crops.
        """
        if not self.view.get("ten_crops"):
            return super().views(table, rows)
        images = [table.image(row) for row in rows.tolist()]
        small = [image.shape[1:] for image in images if min(image.shape[1:]) < self.crop]
        if small:
            raise UserError(
                f"an image of {small[0][0]} × {small[0][1]} pixels has no ten crops of {self.crop}; write ten_crops: "
                "false, or leave such images out."
            )
        return torch.stack([ten_crops(image, self.crop) for image in images])
