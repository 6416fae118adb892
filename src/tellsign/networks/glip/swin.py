"""Swin Transformer (Liu et al. 2021) as GLIP's backbone, and the feature pyramid on it.

Follows ``maskrcnn_benchmark/modeling/backbone/swint.py`` and ``fpn.py`` of microsoft/GLIP at commit 9dda955. The
Swins of timm, torchvision and transformers differ from it on maps that the window does not divide or that are no
larger than it: they shrink the window, drop the shift, or roll before they pad.

Feature maps are channels last (``b h w c``) within Swin, channels first (``b c h w``) outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

APART = -100.0  # added to the attention between places that only the roll brought together


def relative_index(window: int, device: torch.device) -> Int[Tensor, "n n"]:
    """Row of the bias table for each (query, key) of a window's n = window² places, row-major.

    (dy + w - 1)(2w - 1) + (dx + w - 1), where (dy, dx) is query minus key (Swin, §3.2).
    """
    side = torch.arange(window, device=device)
    y, x = (axis.flatten() for axis in torch.meshgrid(side, side, indexing="ij"))
    down, across = y[:, None] - y + window - 1, x[:, None] - x + window - 1
    return down * (2 * window - 1) + across


def to_windows(x: Float[Tensor, "b h w c"], window: int) -> Float[Tensor, "b k n c"]:
    """Cut a map whose sides are multiples of the window into k windows of n = window² places."""
    b, h, w, c = x.shape
    x = x.view(b, h // window, window, w // window, window, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(b, -1, window * window, c)


def from_windows(x: Float[Tensor, "b k n c"], window: int, height: int, width: int) -> Float[Tensor, "b h w c"]:
    """Put the windows of `to_windows` back together."""
    x = x.view(x.shape[0], height // window, width // window, window, window, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(x.shape[0], height, width, -1)


def apart(height: int, width: int, window: int, device: torch.device) -> Bool[Tensor, "k n n"]:
    """Which places of each window of a rolled map come from different regions of the map.

    Each axis has the regions [0, -w), [-w, -shift), [-shift, end) with shift = w // 2, also where the map is one
    window long and the first of them is empty. The border between the first two is one between windows, so only the
    last region has to be told from the others.
    """

    def rolled(length: int) -> Int[Tensor, " l"]:
        return (torch.arange(length, device=device) >= length - window // 2).int()

    both = 2 * rolled(height)[:, None] + rolled(width)
    own = to_windows(both[None, :, :, None], window)[0, :, :, 0]
    return own[:, :, None] != own[:, None, :]


class WindowAttention(nn.Module):
    """Attention within windows, with a learnt bias for every relative position."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "b k n c"], index: Int[Tensor, "n n"], split: Bool[Tensor, "k n n"] | None
    ) -> Float[Tensor, "b k n c"]:
        """Attend.

        Args:
            x: Windows.
            index: From `relative_index`.
            split: From `apart`, for a rolled map.
        """
        b, k, n, c = x.shape
        parts = self.qkv(x).view(b, k, n, 3, self.heads, c // self.heads).permute(3, 0, 1, 4, 2, 5)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1).to(parts.dtype)
        # the mask of fused attention has four dimensions: windows join the batch where all share one bias, else the
        # heads, so that the images of a batch share theirs
        if split is None:
            query, key, value = (part.flatten(0, 1) for part in parts)
            mask = bias[None]
        else:
            query, key, value = (part.flatten(1, 2) for part in parts)
            mask = (bias + split[:, None] * APART).to(bias.dtype).flatten(0, 1)[None]
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.proj(out.view(b, k, self.heads, n, -1).transpose(2, 3).flatten(3))


class Mlp(nn.Module):
    """Two layers with an exact (erf) GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Transform each place."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Window attention and an MLP, each after a norm and around a residual; odd blocks attend in shifted windows."""

    def __init__(self, dim: int, heads: int, window: int, hidden: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = WindowAttention(dim, heads, window), Mlp(dim, hidden)

    def forward(
        self, x: Float[Tensor, "b h w c"], index: Int[Tensor, "n n"], split: Bool[Tensor, "k n n"]
    ) -> Float[Tensor, "b h w c"]:
        """Transform a map; ``index`` and ``split`` from `relative_index` and `apart`."""
        height, width = x.shape[1:3]
        # zeros are padded after the norm and before the roll, and take part as keys
        y = F.pad(self.norm1(x), (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded = y.shape[1:3]
        if self.shift:
            y = y.roll((-self.shift, -self.shift), (1, 2))
        y = self.attn(to_windows(y, self.window), index, split if self.shift else None)
        y = from_windows(y, self.window, *padded)
        if self.shift:
            y = y.roll((self.shift, self.shift), (1, 2))
        x = x + y[:, :height, :width]
        return x + self.mlp(self.norm2(x))


class Merge(nn.Module):
    """Every 2 × 2 places to one of twice the channels; a zero row or column makes odd sides even."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 c2"]:
        """Merge."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]  # rows first: trained so
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Stage(nn.Module):
    """Blocks at one resolution and, but for the last stage, the merging after them."""

    def __init__(self, dim: int, depth: int, heads: int, window: int, hidden: int, last: bool) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            Block(dim, heads, window, hidden, shift=window // 2 if i % 2 else 0) for i in range(depth)
        )
        self.downsample = None if last else Merge(dim)

    def forward(
        self, x: Float[Tensor, "b h w c"], index: Int[Tensor, "n n"]
    ) -> tuple[Float[Tensor, "b h w c"], Float[Tensor, "b h2 w2 c2"]]:
        """The blocks' output before and after merging."""
        height, width = (size + -size % self.window for size in x.shape[1:3])
        split = apart(height, width, self.window, x.device)
        for block in self.blocks:
            x = block(x, index, split)
        return x, x if self.downsample is None else self.downsample(x)


class PatchEmbedding(nn.Module):
    """Patches to vectors by one linear layer, and a norm."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj, self.norm = nn.Conv2d(3, dim, patch, patch), nn.LayerNorm(dim)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b h2 w2 c"]:
        """Embed; zeros are padded at the right and bottom to whole patches."""
        height, width = images.shape[2:]
        images = F.pad(images, (0, -width % self.patch, 0, -height % self.patch))
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class Swin(nn.Module):
    """The backbone.

    Args:
        patch: Side of a patch in pixels.
        dim: Channels of the first stage; each further stage has twice as many.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        window: Side of a window in places; it never shrinks, however small the map.
        mlp_ratio: Hidden channels of the MLPs over their channels.
    """

    def __init__(
        self, patch: int, dim: int, depths: Sequence[int], heads: Sequence[int], window: int, mlp_ratio: float
    ) -> None:
        super().__init__()
        self.window = window
        self.patch_embed = PatchEmbedding(patch, dim)
        widths = [dim * 2**i for i in range(len(depths))]
        self.layers = nn.ModuleList(
            Stage(width, depths[i], heads[i], window, int(width * mlp_ratio), last=i == len(depths) - 1)
            for i, width in enumerate(widths)
        )
        for i, width in enumerate(widths[1:], 1):
            self.add_module(f"norm{i}", nn.LayerNorm(width))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """Outputs of all stages, C2 first (strides 4, 8, 16, 32); C2 has no norm of its own, later stages do."""
        x = self.patch_embed(images)
        index = relative_index(self.window, x.device)
        outputs = []
        for i, stage in enumerate(self.layers):
            own, x = stage(x, index)
            if i:
                own = self.get_submodule(f"norm{i}")(own)  # of the output only; the next stage reads it without
            outputs.append(own.permute(0, 3, 1, 2))
        return outputs


class ExtraLevels(nn.Module):
    """P6 from P5 (the pyramid's output, not the backbone's C5) and P7 from ReLU(P6) (Lin et al. 2017, RetinaNet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, p5: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """P6 and P7."""
        p6 = self.p6(p5)
        return [p6, self.p7(F.relu(p6))]


class Pyramid(nn.Module):
    """Feature pyramid (Lin et al. 2017) on C3, C4, C5.

    Args:
        widths: Channels of C3, C4, C5.
        channels: Channels of every level of the pyramid.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.names = range(2, 2 + len(widths))  # the released names count stages from 1
        for name, width in zip(self.names, widths, strict=True):
            self.add_module(f"fpn_inner{name}", nn.Conv2d(width, channels, 1))
            self.add_module(f"fpn_layer{name}", nn.Conv2d(channels, channels, 3, padding=1))
        self.top_blocks = ExtraLevels(channels)

    def forward(self, features: Sequence[Float[Tensor, "b c h w"]]) -> list[Float[Tensor, "b c h w"]]:
        """P3 to P7, each half the one before (rounded up)."""
        levels: list[Tensor] = []
        above: Tensor | None = None
        for name, feature in zip(reversed(self.names), reversed(features), strict=True):
            lateral = self.get_submodule(f"fpn_inner{name}")(feature)
            above = lateral if above is None else lateral + F.interpolate(above, lateral.shape[2:], mode="nearest")
            levels.insert(0, self.get_submodule(f"fpn_layer{name}")(above))
        return levels + self.top_blocks(levels[-1])
