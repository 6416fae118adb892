"""C2P-CLIP: a CLIP tuned by low-rank changes towards common prompts of both categories, and a linear layer.

Written from Tan et al. (2025), "C2P-CLIP: Injecting Category Common Prompt in CLIP to Enhance Generalization in
Deepfake Detection" (arXiv 2408.09647). No code that trains it was released: docs/decisions.md lists what is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.detectors.on_clip import ClipMethod, ClipNetwork, tower_of, transformer_blocks
from tellsign.detectors.protocol import Sample
from tellsign.methods.losses import binary_cross_entropy
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.backbones.loading import load_clip
from tellsign.networks.split_attention import change_layers, open_clip_names, split_attention
from tellsign.networks.state import State

SCALE = 100.0
"""Of cosines in CLIP's own contrastive loss: what its trained ``logit_scale`` is capped at."""


class LowRank(nn.Linear):
    """A frozen linear layer plus a product of two thin matrices that starts at 0 (LoRA; Hu et al. 2022).

    Args:
        layer: The layer, whose weights are taken over.
        rank: Of the product.
        alpha: The product counts ``alpha / rank`` times.
        dropout: Of what the product sees.
    """

    def __init__(self, layer: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__(layer.in_features, layer.out_features)
        self.weight, self.bias = layer.weight, layer.bias
        self.requires_grad_(False)
        self.lora_A = nn.Parameter(nn.Linear(layer.in_features, rank).weight.detach().clone())
        self.lora_B = nn.Parameter(torch.zeros(layer.out_features, rank))
        self.share, self.dropout = alpha / rank, nn.Dropout(dropout)

    def forward(self, input: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Both."""
        return super().forward(input) + self.share * (self.dropout(input) @ self.lora_A.T @ self.lora_B.T)


class C2pClip(ClipNetwork):
    """C2P-CLIP.

    Args:
        tower: A CLIP's vision transformer.
        rank: Of the change of each layer of queries, keys and values; 0 changes none.
        alpha, dropout: See `LowRank`.
    """

    def __init__(self, tower: Backbone, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.front, self.visual = tower.front, tower.net.requires_grad_(False)
        blocks = transformer_blocks(self.visual)
        split_attention(blocks)
        self.visual.requires_grad_(False)
        if rank:
            change_layers(blocks, lambda layer: LowRank(layer, rank, alpha, dropout), outputs=False)
        self.fc = nn.Linear(tower.dim, 1)
        nn.init.normal_(self.fc.weight, 0.0, 0.02)

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Projected features of preprocessed images, on the unit sphere."""
        return F.normalize(self.visual(x), dim=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Logits of fake of preprocessed images."""
        return self.fc(self.features(x))[:, 0]


def prompt_loss(
    features: Float[Tensor, "b d"], prompts: Float[Tensor, "2 d"], labels: Int64[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Cross-entropy of CLIP's zero-shot classification between the prompts of both categories.

    Args:
        features: Of images, on the unit sphere.
        prompts: Of the texts for real and for fake, on the unit sphere.
        labels: 0 real, 1 fake.
    """
    return F.cross_entropy(SCALE * features @ prompts.T, labels)


class C2pClipMethod(ClipMethod):
    """`C2pClip` on crops."""

    prompts: Float[Tensor, "2 d"]

    @staticmethod
    def network(settings: Mapping[str, Any]) -> C2pClip:
        """See `ClipMethod.network`; nothing of low rank where nothing is trained."""
        rank = settings["rank"] if settings["epochs"] else 0
        return C2pClip(tower_of(settings), rank, settings["alpha"], settings["dropout"])

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `ClipMethod.begin`; the prompts are encoded once, by the text tower of the ``backbone``'s weights."""
        method, network = super().begin(settings, sample, start, device), settings["backbone"]
        if settings["epochs"]:
            clip = load_clip(network["name"], network["weights"], settings["seed"]).eval()
            with torch.no_grad():
                method.prompts = F.normalize(clip.encode_text(list(settings["prompts"])), dim=1).to(device)
        return method

    @classmethod
    def published(cls, state: State) -> dict[str, Tensor]:
        """See `ClipMethod.published`: transformers' names, with what was of low rank added to the weights."""
        renamed = open_clip_names(state, "model.vision_model.", "visual.")
        projection = renamed.pop("model.visual_projection.weight", None)
        if projection is not None:
            renamed["visual.proj"] = projection.T
        return {name.replace("model.fc.", "fc."): value for name, value in renamed.items()}

    @classmethod
    def added(cls, own: State, stored: State) -> dict[str, Tensor]:
        """See `ClipMethod.added`: what is of low rank begins anew."""
        return {name: value for name, value in own.items() if ".lora_" in name}

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Binary cross-entropy of the linear layer, plus `prompt_loss`."""
        assert isinstance(self.model, C2pClip)
        features = self.model.features(self.preprocess(pixels))
        return binary_cross_entropy(self.model.fc(features)[:, 0], labels) + self.settings["factor"] * prompt_loss(
            features, self.prompts, labels
        )
