"""Attention of an image on a caption and of the caption on the image, at once (GLIP, §3.2, eq. 4-6).

Follows ``BiAttentionBlockForCheckpoint`` and ``BiMultiHeadAttention`` in
``maskrcnn_benchmark/modeling/rpn/`` of microsoft/GLIP at commit 9dda955.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

LIMIT = 50000.0  # the released code keeps logits within ±50000


class CrossAttention(nn.Module):
    """What each side takes from the other.

    There are many places (22,000 for 800 × 1333 pixels) and few tokens (a dozen), so the places are never projected
    to the inner width: (V Wᵀ) K = V (Wᵀ K), and likewise for values and outputs. With t tokens that costs
    heads × t / width of the plain order, the same at 256 tokens and a twentieth at 12.

    Args:
        vision: Channels of a place.
        text: Channels of a token.
        width: Inner width, all heads together.
        heads: Attention heads.
    """

    def __init__(self, vision: int, text: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.v_proj, self.l_proj = nn.Linear(vision, width), nn.Linear(text, width)
        self.values_v_proj, self.values_l_proj = nn.Linear(vision, width), nn.Linear(text, width)
        self.out_v_proj, self.out_l_proj = nn.Linear(width, vision), nn.Linear(width, text)

    def forward(
        self, places: Float[Tensor, "b n c"], tokens: Float[Tensor, "b t d"], real: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b t d"]]:
        """Both updates from one matrix of logits."""
        split = (self.heads, -1)
        scale = (self.v_proj.out_features // self.heads) ** -0.5
        keys = self.l_proj(tokens).unflatten(-1, split) * scale
        folded = torch.einsum("bthe,hec->bhtc", keys, self.v_proj.weight.unflatten(0, split)).flatten(1, 2)
        constant = torch.einsum("bthe,he->bht", keys, self.v_proj.bias.unflatten(0, split)).flatten(1)
        logits = torch.baddbmm(constant[:, None], places, folded.mT).clamp(-LIMIT, LIMIT)  # b n (h t)

        per_head = logits.unflatten(-1, split)
        # padding is left out here, but [CLS] is always real. The released code also adds 1 to real tokens' logits,
        # which no softmax sees
        from_text = per_head.masked_fill(~real[:, None, None], float("-inf")).softmax(-1).flatten(2)
        values = self.values_l_proj(tokens).unflatten(-1, split)
        folded = torch.einsum("bthe,che->bhtc", values, self.out_v_proj.weight.unflatten(1, split)).flatten(1, 2)
        to_places = from_text @ folded + self.out_v_proj.bias

        # over all places, those of the images' padding included. The released code subtracts the largest logit and
        # clamps again before this softmax: exp(-50000) is 0 all the same
        from_image = logits.softmax(1)
        taken = (from_image.mT @ places).unflatten(1, split)
        mixed = torch.einsum("bhtc,hec->bthe", taken, self.values_v_proj.weight.unflatten(0, split)).flatten(2)
        return to_places, self.out_l_proj(mixed + self.values_v_proj.bias)


class BiAttention(nn.Module):
    """Norms, cross attention, learnt gates."""

    def __init__(self, vision: int, text: int, width: int, heads: int) -> None:
        super().__init__()
        self.layer_norm_v, self.layer_norm_l = nn.LayerNorm(vision), nn.LayerNorm(text)
        self.attn = CrossAttention(vision, text, width, heads)
        self.gamma_v, self.gamma_l = nn.Parameter(torch.zeros(vision)), nn.Parameter(torch.zeros(text))

    def forward(
        self, places: Float[Tensor, "b n c"], tokens: Float[Tensor, "b t d"], real: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b t d"]]:
        """Both sides, updated."""
        # the residual starts from the normalised sides, not from what came in: trained so
        places, tokens = self.layer_norm_v(places), self.layer_norm_l(tokens)
        to_places, to_tokens = self.attn(places, tokens, real)
        return places + self.gamma_v * to_places, tokens + self.gamma_l * to_tokens


class Fusion(nn.Module):
    """A layer of the tower: `BiAttention` under its released name."""

    def __init__(self, vision: int, text: int, width: int, heads: int) -> None:
        super().__init__()
        self.b_attn = BiAttention(vision, text, width, heads)

    def forward(
        self, places: Float[Tensor, "b n c"], tokens: Float[Tensor, "b t d"], real: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b t d"]]:
        """Both sides, updated.

        Args:
            places: All levels, each row-major, one after another.
            tokens: States of the text.
            real: False on padding.
        """
        return self.b_attn(places, tokens, real)
