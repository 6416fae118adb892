"""GLIP's head: the tower of fused layers on the pyramid, and what every place predicts.

The visual layers are DyHead's (Dai et al. 2021): modulated deformable convolutions (Zhu et al. 2019) on three
neighbouring levels, weighted and joined, then dynamic ReLU (Chen et al. 2020). Follows ``VLDyHead`` in
``maskrcnn_benchmark/modeling/rpn/vldyhead.py`` of microsoft/GLIP at commit 9dda955.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from tellsign.networks.glip.bert import BertConfig, BertLayer
from tellsign.networks.glip.fusion import LIMIT, Fusion

TAPS = 9  # of a 3 × 3 kernel


class Predictions(NamedTuple):
    """What the head says of all n places: levels one after another, each row-major."""

    logits: Float[Tensor, "b n t"]  # of each token
    deltas: Float[Tensor, "b n 4"]
    centerness: Float[Tensor, "b n"]  # logits
    sizes: list[tuple[int, int]]  # height and width of each level


def flatten(levels: Sequence[Float[Tensor, "b c h w"]]) -> Float[Tensor, "b n c"]:
    """All places of all levels, each level row-major."""
    return torch.cat([level.flatten(2) for level in levels], 2).mT


def unflatten(places: Float[Tensor, "b n c"], sizes: Sequence[tuple[int, int]]) -> list[Float[Tensor, "b c h w"]]:
    """The levels of `flatten`."""
    parts = places.split([height * width for height, width in sizes], 1)
    return [part.mT.contiguous().unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]


def reread(block: Float[Tensor, "b c h w"], height: int, width: int) -> Float[Tensor, "b c h2 w2"]:
    """The first c × height × width numbers of each image's block, read as if the block had that size.

    The released kernel does not check sizes: given the offsets of a finer level, it walks their memory with the
    strides of the coarser one (microsoft/GLIP issue 52). The weights were trained so; resampling or cropping the
    offsets gives other boxes.
    """
    channels = block.shape[1]
    return block.flatten(1)[:, : channels * height * width].unflatten(1, (channels, height, width))


class DeformableConv(nn.Module):
    """Modulated deformable 3 × 3 convolution, then group norm."""

    def __init__(self, channels: int, groups: int, stride: int) -> None:
        super().__init__()
        self.stride = (stride, stride)
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=1)  # holds the weights only
        self.bn = nn.GroupNorm(groups, channels)

    def forward(
        self, x: Float[Tensor, "b c h w"], offset: Float[Tensor, "b 18 h2 w2"], mask: Float[Tensor, "b 9 h2 w2"]
    ) -> Float[Tensor, "b c h2 w2"]:
        """Convolve; offsets are (dy, dx) of each tap, row-major."""
        weight, bias = self.conv.weight, self.conv.bias
        return self.bn(deform_conv2d(x, offset, weight, bias, stride=self.stride, padding=(1, 1), mask=mask))


class DynamicRelu(nn.Module):
    """The larger of two linear functions of x whose coefficients follow from the map's mean (DyReLU-B)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, 4 * channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Activate."""
        raw = F.hardsigmoid(self.fc(x.mean((2, 3))))[..., None, None] - 0.5
        a1, b1, a2, b2 = raw.chunk(4, 1)
        return torch.maximum(x * (2 * a1 + 1) + b1, x * (2 * a2) + b2)


class VisualLayer(nn.Module):
    """Every level from itself and its neighbours."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.offset = nn.Conv2d(channels, 3 * TAPS, 3, padding=1)
        # for the coarser level, the level itself, the finer level
        self.DyConv = nn.ModuleList(DeformableConv(channels, groups, stride) for stride in (1, 1, 2))
        self.AttnConv = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 1, 1), nn.ReLU())
        self.relu = DynamicRelu(channels)

    def forward(self, levels: Sequence[Float[Tensor, "b c h w"]]) -> list[Float[Tensor, "b c h w"]]:
        """Transform all levels, finest first; every one reads its neighbours as they came in."""
        above, same, below = self.DyConv
        outputs = []
        for i, level in enumerate(levels):
            offset, mask = self.offset(level).split((2 * TAPS, TAPS), 1)
            mask = mask.sigmoid()
            branches = [same(level, offset, mask)]
            if i > 0:
                branches.append(below(levels[i - 1], offset, mask))
            if i + 1 < len(levels):
                coarse = levels[i + 1]
                size = (coarse.shape[2], coarse.shape[3])
                small = above(coarse, reread(offset, *size), reread(mask, *size))
                branches.append(F.interpolate(small, level.shape[2:], mode="bilinear", align_corners=True))
            weighted = [branch * F.hardsigmoid(self.AttnConv(branch)) for branch in branches]
            outputs.append(self.relu(torch.stack(weighted).mean(0)))
        return outputs


class Scale(nn.Module):
    """One learnt factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        return x * self.scale


class Head(nn.Module):
    """The tower and the predictions.

    Args:
        channels: Of the pyramid.
        blocks: Blocks of the tower; each is a fusion, a text layer, a visual layer.
        groups: Of the group norms.
        width: Inner width of the fusion.
        heads: Attention heads of the fusion.
        levels: Of the pyramid.
        text: Sizes of the text layers.
    """

    def __init__(
        self, channels: int, blocks: int, groups: int, width: int, heads: int, levels: int, text: BertConfig
    ) -> None:
        super().__init__()
        tower: list[nn.Module] = []
        for _ in range(blocks):
            fusion = Fusion(channels, text.hidden_size, width, heads)
            tower += [fusion, BertLayer(text), VisualLayer(channels, groups)]
        self.dyhead_tower = nn.ModuleList(tower)
        self.bbox_pred, self.centerness = nn.Conv2d(channels, 4, 1), nn.Conv2d(channels, 1, 1)
        self.scales = nn.ModuleList(Scale() for _ in range(levels))
        self.dot_product_projection_text = nn.Linear(text.hidden_size, channels)
        self.log_scale, self.bias0 = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.bias_lang = nn.Parameter(torch.zeros(text.hidden_size))

    def forward(
        self, levels: Sequence[Float[Tensor, "b c h w"]], tokens: Float[Tensor, "b t d"], real: Bool[Tensor, "b t"]
    ) -> Predictions:
        """Predict.

        Args:
            levels: The pyramid, finest first.
            tokens: States of the text encoder.
            real: False on padding.
        """
        sizes = [(level.shape[2], level.shape[3]) for level in levels]
        levels = list(levels)
        for i in range(0, len(self.dyhead_tower), 3):
            fusion, text, visual = self.dyhead_tower[i : i + 3]
            places, tokens = fusion(flatten(levels), tokens, real)
            tokens = text(tokens, real)
            levels = visual(unflatten(places, sizes))
        deltas = flatten([scale(self.bbox_pred(level)) for scale, level in zip(self.scales, levels, strict=True)])
        centerness = flatten([self.centerness(level) for level in levels])[..., 0]
        return Predictions(self.align(flatten(levels), tokens), deltas, centerness, sizes)

    def align(self, places: Float[Tensor, "b n c"], tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b n t"]:
        """How well each place fits each token: logits (GLIP, eq. 3). The image's side is not projected."""
        unit = F.normalize(tokens, dim=-1)
        keys = self.dot_product_projection_text(unit / 2) / self.log_scale.exp()
        bias = unit @ self.bias_lang + self.bias0
        return torch.baddbmm(bias[:, None], places, keys.mT).clamp(-LIMIT, LIMIT)
