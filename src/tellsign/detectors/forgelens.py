"""ForgeLens: modules that guide a frozen CLIP, and a small transformer over the class tokens of all its blocks.

Written from Chen, Zhang & Niu (2025), "ForgeLens: Data-Efficient Forgery Focus for Generalizable Forgery Image
Detection" (arXiv 2408.13697). Where its public code decides what the paper leaves open, the place says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.detectors.on_clip import ClipMethod, ClipNetwork, tower_of, transformer_blocks
from tellsign.detectors.protocol import Phase, Sample
from tellsign.methods.losses import binary_cross_entropy
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.clip_steps import attended, checked, embedded, perceived, projected


class Guidance(nn.Module):
    """What guides tokens: three layers that start near zero.

    Args:
        width: Of the tokens.
        reduction: The inner layers are so many times narrower.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        inner = width // reduction
        self.down, self.middle, self.up = nn.Linear(width, inner), nn.Linear(inner, inner), nn.Linear(inner, width)
        self.dropout = nn.Dropout(0.5)
        for layer in (self.down, self.middle, self.up):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """What is added to tokens."""
        x = self.dropout(self.down(x).relu())
        return self.up(self.dropout(self.middle(x).relu()))


class FusionBlock(nn.Module):
    """A pre-norm transformer block; its perceptron has dropout."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        inner = width // reduction
        layers = nn.Linear(width, inner), nn.ReLU(), nn.Dropout(0.5), nn.Linear(inner, width), nn.Dropout(0.5)
        self.mlp = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Transform tokens."""
        read = self.ln_1(x)
        x = x + self.attn(read, read, read, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Guided(nn.Module):
    """The first stage: a frozen CLIP with guidance modules, each shared by consecutive blocks, and a linear layer.

    Args:
        tower: A CLIP's vision transformer of open_clip.
        modules: Guidance modules.
        reduction: See `Guidance`.
    """

    def __init__(self, tower: Backbone, modules: int, reduction: int) -> None:
        super().__init__()
        visual = checked(tower.net).requires_grad_(False)
        width = visual.class_embedding.shape[0]
        visual.transformer.WSGM_modules = nn.ModuleList(Guidance(width, reduction) for _ in range(modules))
        self.backbone = nn.ModuleDict({"visual": visual})
        self.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(tower.dim, 1))

    def tokens(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b blocks d"]:
        """Class tokens that leave the blocks, all through the same norm and projection."""
        visual: Any = self.backbone["visual"]
        blocks, modules = transformer_blocks(visual), visual.transformer.WSGM_modules
        x, found = embedded(visual, x), []
        for number, block in enumerate(blocks):
            x = attended(block, x)
            x = perceived(block, x + modules[number * len(modules) // len(blocks)](x))
            found.append(x[:, 0])
        return projected(visual, torch.stack(found, dim=1))


class ForgeLens(ClipNetwork):
    """Both stages. Names of parameters and layers are those of the public code.

    Args:
        tower, modules, reduction: See `Guided`.
        layers: Blocks of the transformer over class tokens.
        heads, inner_reduction: Of these.
    """

    def __init__(
        self, tower: Backbone, modules: int, reduction: int, layers: int, heads: int, inner_reduction: int
    ) -> None:
        super().__init__()
        self.front, self.backbone = tower.front, Guided(tower, modules, reduction)
        self.cls_token = nn.Parameter(0.02 * torch.randn(tower.dim))
        blocks = nn.ModuleList(FusionBlock(tower.dim, heads, inner_reduction) for _ in range(layers))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.ln_post = nn.LayerNorm(tower.dim)
        self.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(tower.dim, 1))

    def first(self, tokens: Float[Tensor, "b blocks d"]) -> Float[Tensor, " b"]:
        """The first stage's logits of fake, from the last class token."""
        return self.backbone.fc(tokens[:, -1])[:, 0]

    def fused(self, tokens: Float[Tensor, "b blocks d"]) -> Float[Tensor, "b d"]:
        """What a learnt token has read of the class tokens, which have no positions."""
        x = torch.cat([self.cls_token.expand(len(tokens), 1, -1), tokens], dim=1)
        for block in self.transformer["resblocks"].children():
            x = block(x)
        return self.ln_post(x[:, 0])

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """The second stage's logits of fake of preprocessed images."""
        return self.fc(self.fused(self.backbone.tokens(x)))[:, 0]


class ForgeLensMethod(ClipMethod):
    """`ForgeLens` on crops, trained in two phases."""

    unused = re.compile(
        r"backbone\.backbone\.(positional_embedding|text_projection|logit_scale|token_embedding\.weight"
        r"|ln_final\..*|transformer\..*)"
        r"|backbone\.backbone\.visual\.transformer\.resblocks\.\d+\.wsgm_module\..*|backbone\.ln_post\..*"
    )
    """The text tower with its own modules, the modules under second names, and a norm that nothing goes through."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> ForgeLens:
        """See `ClipMethod.network`."""
        names = ("modules", "reduction", "layers", "heads", "inner_reduction")
        return ForgeLens(tower_of(settings), *(settings[name] for name in names))

    def phases(self, sample: Sample, validation: Sample | None, generator: torch.Generator) -> Iterator[Phase]:
        """See `Method.phases`: the guidance modules; then the transformer, with the modules frozen.

        In the second phase the modules' dropouts stay on (public code).
        """
        settings, model = self.settings, self.model
        assert isinstance(model, ForgeLens)
        if settings["epochs"] == 0:
            return
        later = [value for name, value in model.named_parameters() if not name.startswith("backbone.")]
        guides = [value for name, value in model.named_parameters() if re.match(r"backbone\.fc|.*WSGM", name)]
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in guides:
            parameter.requires_grad_(True)
        yield self.phase(sample, None, generator, settings, self.first_loss)
        for parameter in model.parameters():
            parameter.requires_grad_(any(parameter is one for one in later))
        names = ("batch_size", "epochs")
        second = {**settings, **{name: settings[f"second_{name}"] for name in names}}
        second["optimiser"] = settings["optimiser"] | {"lr": settings["second_lr"]}
        yield self.phase(sample, validation, generator, second, self.loss)

    def first_loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Binary cross-entropy of the first stage."""
        assert isinstance(self.model, ForgeLens)
        return binary_cross_entropy(self.model.first(self.model.backbone.tokens(self.preprocess(pixels))), labels)
