"""FatFormer: adapters that look at wavelets inside a CLIP, and prompts that each image completes.

Written from Liu et al. (2024), "Forgery-aware Adaptive Transformer for Generalizable Synthetic Image Detection" (arXiv
2312.16649). No code that trains it was released: docs/decisions.md lists what is guessed. Where the public code of its
evaluation decides what the paper leaves open, the place says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.detectors.on_clip import ClipMethod, ClipNetwork, checked_size, transformer_blocks
from tellsign.detectors.on_crops import IMAGENET_MEAN, IMAGENET_STD
from tellsign.errors import UserError
from tellsign.networks.backbones.backbone import Clip, Standardise
from tellsign.networks.backbones.loading import load_clip
from tellsign.networks.clip_steps import attended, checked, embedded, perceived, projected
from tellsign.networks.state import State
from tellsign.networks.wavelet_adapter import Adapter

TEXTS = ("real.", "fake.")


class Enhancer(nn.Module):
    """Completes a prompt for each class with context vectors that have read an image's tokens.

    Args:
        clip: open_clip's model.
        contexts: Number of context vectors.
        width: Of texts' tokens and of projected image tokens.
    """

    token_prefix: Tensor
    token_suffix: Tensor

    def __init__(self, clip: Any, contexts: int, width: int) -> None:
        super().__init__()
        from open_clip import tokenize  # OpenAI's words

        self.ctx = nn.Parameter(0.02 * torch.randn(contexts, width))
        tokens = tokenize([f"{'X ' * contexts}{text}" for text in TEXTS])
        with torch.no_grad():
            words = clip.token_embedding(tokens)
        self.register_buffer("token_prefix", words[:, :1])
        self.register_buffer("token_suffix", words[:, 1 + contexts :])
        self.end = int(tokens[0].argmax())
        self.patch_basaed_enhancer = nn.MultiheadAttention(width, 12, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def contexts(self, image: Float[Tensor, "b n d"]) -> Float[Tensor, "b contexts d"]:
        """Context vectors for each image; they read the class token, too (public code)."""
        x = self.ctx.expand(len(image), -1, -1)
        x = self.norm1(x + self.patch_basaed_enhancer(x, image, image, need_weights=False)[0])
        return self.norm2(x + self.linear2(self.linear1(x).relu()))

    def forward(self, image: Float[Tensor, "b n d"]) -> Float[Tensor, "b 2 length d"]:
        """Tokens of the prompts for real and for fake."""
        contexts = self.contexts(image)[:, None].expand(-1, 2, -1, -1)
        ends = (part.expand(len(image), -1, -1, -1) for part in (self.token_prefix, self.token_suffix))
        prefix, suffix = ends
        return torch.cat([prefix, contexts, suffix], dim=2)


class FatFormer(ClipNetwork):
    """FatFormer. Names of parameters and layers are those of the public code.

    Args:
        clip: A CLIP of open_clip with a vision transformer, whose texts' tokens are as wide as its features.
        adapters: How many, in equal distances; the last is in the last block.
        contexts: Number of context vectors.

    Raises:
        UserError: it is another CLIP, or has no place for the adapters.
    """

    def __init__(self, clip: Clip, adapters: int, contexts: int) -> None:
        super().__init__()
        visual, text, width = checked(clip.image.net), clip.text, clip.image.dim
        blocks = transformer_blocks(visual)
        if len(blocks) % adapters or text.get_parameter("positional_embedding").shape[1] != width:
            raise UserError(
                f"FatFormer puts {adapters} adapters into every n-th block of a CLIP whose texts are as wide as its "
                f"features. This one has {len(blocks)} blocks; set adapters, or take clip-vit-l14."
            )
        rows, columns = visual.grid_size
        if rows % 2 or columns % 2:
            raise UserError(
                f"FatFormer's adapters take an image's patches in cells of 2 × 2; this CLIP has {rows} × {columns} "
                "patches. Take one with even numbers, such as clip-vit-l14."
            )
        self.front = Standardise(IMAGENET_MEAN, IMAGENET_STD)  # in front of a CLIP (public code)
        clip.requires_grad_(False)
        text.add_module("visual", visual)
        self.clip_model, step = text, len(blocks) // adapters
        for block in blocks[step - 1 :: step]:
            block.add_module("forgery_aware_adapter", Adapter(visual.class_embedding.shape[0]))
        self.language_guided_alignment = Enhancer(text, contexts, width)
        self.text_guided_interactor = nn.MultiheadAttention(width, 12, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def image_tokens(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
        """Projected tokens of preprocessed images, class token first; not normalised."""
        visual: Any = self.clip_model.visual
        x = embedded(visual, x)
        for block in transformer_blocks(visual):
            x = attended(block, x)
            adapter = getattr(block, "forgery_aware_adapter", None)
            x = perceived(block, x) if adapter is None else perceived(block, x) + adapter(x)
        return projected(visual, x)

    def texts(self, image: Float[Tensor, "b n d"]) -> Float[Tensor, "b 2 d"]:
        """Features of the two prompts as an image completes them; not normalised."""
        clip: Any = self.clip_model
        prompts = self.language_guided_alignment(image)
        x = prompts.flatten(0, 1) + clip.positional_embedding
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask))
        return (x[:, self.language_guided_alignment.end] @ clip.text_projection).unflatten(0, (len(image), 2))

    def guided(self, image: Float[Tensor, "b n d"], texts: Float[Tensor, "b 2 d"]) -> Float[Tensor, "b d"]:
        """Mean of an image's patches, each of which has read its own two texts."""
        x = image[:, 1:]
        x = self.norm1(x + self.text_guided_interactor(x, texts, texts, need_weights=False)[0])
        return self.norm2(x + self.linear2(self.linear1(x).relu())).mean(1)

    def terms(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "2 b 2"]:
        """Scaled cosines of class token and of guided patches with the texts for real and for fake."""
        image = self.image_tokens(x)
        texts = self.texts(image)
        seen = torch.stack([image[:, 0], self.guided(image, texts)])
        scale = self.clip_model.get_parameter("logit_scale").exp()
        return scale * F.cosine_similarity(seen[:, :, None], texts[None], dim=-1)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Logits of fake of preprocessed images: the difference of two outputs, whose sigmoid is their softmax."""
        real, fake = self.terms(x).sum(0).unbind(1)
        return fake - real


class FatFormerMethod(ClipMethod):
    """`FatFormer` on crops."""

    unused = re.compile(r".*\.forgery_aware_adapter\.i?dwt_transform\.[gh][01]_(col|row)")
    """Haar's filters."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> FatFormer:
        """See `ClipMethod.network`."""
        network = settings["backbone"]
        clip = load_clip(network["name"], network["weights"], settings["seed"])
        checked_size(clip.image, settings)
        return FatFormer(clip, settings["adapters"], settings["contexts"])

    @classmethod
    def published(cls, state: State) -> dict[str, Tensor]:
        """See `ClipMethod.published`: 544 tensors are there twice, and once is enough where both are equal."""
        kept = super().published(state)
        for name in list(kept):
            first = re.sub(r"^(image_encoder\.|text_encoder\.|(?=logit_scale$))", _first_name, name)
            if first != name and first in kept and torch.equal(kept[name], kept[first]):
                del kept[name]
        return kept

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Cross-entropy of the sum of both terms."""
        assert isinstance(self.model, FatFormer)
        return F.cross_entropy(self.model.terms(self.preprocess(pixels)).sum(0), labels)


def _first_name(match: re.Match[str]) -> str:
    """What stands for the beginning of a second name."""
    return "clip_model.visual." if match[0] == "image_encoder." else "clip_model."
