"""FatFormer's adapter: what a transformer's block adds after it has looked at its tokens and at their wavelets."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

HALF_SIGNS = ((1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1))
"""Signs with which half of the upper left, upper right, lower left and lower right value add up to each band."""

HEADS, INNER, CHANNELS = 8, 64, 8
"""Heads of the attentions; width of the picture branch; channels of a group of the norm (public code)."""


def haar(maps: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d 4 h2 w2"]:
    """One level of Haar's wavelets: the mean of each 2 × 2 cell, doubled, and its three differences."""
    cells = torch.stack([maps[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=2)
    return torch.einsum("kc,bdchw->bdkhw", maps.new_tensor(HALF_SIGNS) / 2, cells)


def inverse_haar(bands: Float[Tensor, "b d 4 h w"]) -> Float[Tensor, "b d h2 w2"]:
    """What `haar` gave the bands of."""
    cells = torch.einsum("kc,bdkhw->bdchw", bands.new_tensor(HALF_SIGNS) / 2, bands)
    rows = [torch.stack([cells[:, :, 2 * i], cells[:, :, 2 * i + 1]], dim=-1).flatten(-2) for i in (0, 1)]
    return torch.stack(rows, dim=-2).flatten(-3, -2)


class Adapter(nn.Module):
    """Adds a picture branch and, from 0 on, a frequency branch. Names of layers are those of the public code.

    There ``intra_band`` reads across the bands of one place and ``inter_band`` across the places of one band, which is
    the other way round than they are called.

    Args:
        width: Of the tokens; a multiple of 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first_conv_layer, self.second_conv_layer = nn.Conv1d(width, INNER, 1), nn.Conv1d(INNER, width, 1)
        self.freq_scale = nn.Parameter(torch.zeros(1))
        self.dwt_norm = nn.GroupNorm(width // CHANNELS, width)
        self.intra_band = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.inter_band = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.norm_intra, self.norm_inter, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(0.1)

    def picture(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Two layers on each token, a tenth of them."""
        hidden = self.dropout(self.first_conv_layer(x.transpose(1, 2)).relu())
        return 0.1 * self.second_conv_layer(hidden).transpose(1, 2)

    def frequency(self, patches: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Attention among the wavelets of a square of patches, transformed back."""
        batch, count, width = patches.shape
        side = round(count**0.5)
        bands = haar(patches.transpose(1, 2).reshape(batch, width, side, side))
        x = self.dwt_norm(bands.flatten(3)).permute(0, 3, 2, 1)  # image, place, band, channel
        read = x.flatten(0, 1)
        x = self.norm_intra(x + self._attention(self.intra_band, read).view_as(x)).transpose(1, 2)
        read = x.flatten(0, 1)
        x = self.norm_inter(x + self._attention(self.inter_band, read).view_as(x))
        x = self.norm3(x + self.dropout(self.linear2(self.dropout(self.linear1(x).relu()))))
        maps = inverse_haar(x.permute(0, 3, 1, 2).reshape(batch, width, 4, side // 2, side // 2))
        return maps.flatten(2).transpose(1, 2)

    def _attention(self, layer: nn.MultiheadAttention, x: Float[Tensor, "s n d"]) -> Float[Tensor, "s n d"]:
        return self.dropout(layer(x, x, x, need_weights=False)[0])

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """What is added to tokens, class token first; the frequency branch adds nothing to it."""
        frequency = self.frequency(x[:, 1:])
        return self.picture(x) + self.freq_scale * torch.cat([torch.zeros_like(x[:, :1]), frequency], dim=1)
