"""Effort: of each attention layer of a CLIP only the smallest singular triple is trained.

Written from Yan et al. (2025), "Orthogonal Subspace Decomposition for Generalizable AI-Generated Image Detection"
(arXiv 2411.15633). Where its public code decides what the paper leaves open, the place says so.
"""

from __future__ import annotations

import re
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
from tellsign.networks.split_attention import change_layers, open_clip_names, split_attention
from tellsign.networks.state import State


class Residual(nn.Module):
    """A linear layer in two parts: its largest singular triples, which are frozen, and the others, which are trained.

    Names of tensors are those of the public code. Of a vector and its negative, which of the two a decomposition gives
    is arbitrary.

    Args:
        layer: The layer. All of it is in the frozen part until `decompose`; its bias is frozen.
        trained: How many of the smallest triples are trained.
    """

    U_kept: Tensor
    V_kept: Tensor
    size: Tensor

    def __init__(self, layer: nn.Linear, trained: int) -> None:
        super().__init__()
        self.weight_main = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        self.U_residual = nn.Parameter(torch.zeros(layer.out_features, trained))
        self.S_residual = nn.Parameter(torch.zeros(trained))
        self.V_residual = nn.Parameter(torch.zeros(trained, layer.in_features))
        self.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)

    @torch.no_grad()
    def decompose(self, *, remember: bool = False) -> None:
        """Divide the layer's weight.

        Args:
            remember: Keep what `orthogonality` and `growth` compare with.
        """
        whole = self.weight()
        u, s, v = torch.linalg.svd(whole, full_matrices=False)
        kept = len(s) - len(self.S_residual)
        self.weight_main.copy_(u[:, :kept] * s[:kept] @ v[:kept])
        for parameter, value in (
            (self.U_residual, u[:, kept:]),
            (self.S_residual, s[kept:]),
            (self.V_residual, v[kept:]),
        ):
            parameter.copy_(value)
        if remember:
            for name, value in (("U_kept", u[:, :kept]), ("V_kept", v[:kept]), ("size", whole.square().sum())):
                self.register_buffer(name, value.clone(), persistent=False)

    def weight(self) -> Float[Tensor, "o i"]:
        """The layer's weight."""
        return self.weight_main + self.U_residual * self.S_residual @ self.V_residual

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """The layer's output."""
        return F.linear(x, self.weight(), self.bias)

    def orthogonality(self) -> Float[Tensor, ""]:
        """How far all singular vectors together are from being orthonormal: half the Frobenius norm for each side."""
        left = torch.cat([self.U_kept, self.U_residual], dim=1)
        right = torch.cat([self.V_kept, self.V_residual], dim=0)
        gaps = (one @ one.T - torch.eye(len(one), device=one.device) for one in (left, right))
        return sum((gap.norm() / 2 for gap in gaps), start=left.new_zeros(()))

    def growth(self) -> Float[Tensor, ""]:
        """How far the sum of the squared singular values is from what it was."""
        return (self.weight().square().sum() - self.size).abs()


class Effort(ClipNetwork):
    """Effort; of ViT-L/14 it trains 196,704 numbers and its head.

    Args:
        tower: A CLIP's vision transformer.
        trained: See `Residual`.
        outputs: 1 for a logit of fake, 2 for one of real and one of fake.
    """

    def __init__(self, tower: Backbone, trained: int, outputs: int) -> None:
        super().__init__()
        visual: Any = tower.net
        self.front, self.visual = tower.front, visual
        blocks = transformer_blocks(self.visual)
        split_attention(blocks)
        self.visual.requires_grad_(False)
        change_layers(blocks, lambda layer: Residual(layer, trained), outputs=True)
        demo = hasattr(self.visual, "project")  # the demo's tower projects by a layer, open_clip's by a matrix
        if demo:
            self.visual.add_module("project", nn.Identity())
        else:
            visual.proj = None
        self.residuals = [layer for layer in self.visual.modules() if isinstance(layer, Residual)]
        norm = self.visual.get_submodule("norm_out" if demo else "ln_post")
        self.head = nn.Linear(norm.get_parameter("weight").shape[0], outputs)
        nn.init.normal_(self.head.weight, 0.0, 0.02)

    def outputs(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b outputs"]:
        """The head's outputs from the normed class token, which is not projected."""
        return self.head(self.visual(x))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Logits of fake of preprocessed images; of two outputs their difference, whose sigmoid is the softmax."""
        outputs = self.outputs(x)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]


class EffortMethod(ClipMethod):
    """`Effort` on crops."""

    unused = re.compile(r"model\.(logit_scale|text_model\..*|(text|visual)_projection\.weight)|visual\..*\.[SUV]_r")
    """The text tower and both projections; of the code for faces also what its losses compare with."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> Effort:
        """See `ClipMethod.network`."""
        return Effort(tower_of(settings), settings["trained"], settings["outputs"])

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `ClipMethod.begin`; a published file's layers are divided already."""
        method = super().begin(settings, sample, start, device)
        assert isinstance(method.model, Effort)
        if settings["network"]["weights"] == "none":
            for layer in method.model.residuals:
                layer.decompose(remember=bool(settings["orthogonality"] or settings["growth"]))
        return method

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Cross-entropy, and where the recipe weighs them the paper's other losses, as means over all layers."""
        assert isinstance(self.model, Effort)
        loss = binary_cross_entropy(self.model(self.preprocess(pixels)), labels)
        for name in ("orthogonality", "growth"):
            if weight := self.settings[name]:
                loss = loss + weight * torch.stack([getattr(one, name)() for one in self.model.residuals]).mean()
        return loss

    @classmethod
    def published(cls, state: State) -> dict[str, Tensor]:
        """See `ClipMethod.published`: the names of either of two public codes."""
        state = open_clip_names(open_clip_names(state, "model.vision_model.", "visual."), "backbone.", "visual.")
        return super().published({re.sub(r"^fc\.", "head.", name): value for name, value in state.items()})
