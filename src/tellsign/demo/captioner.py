"""The demo's captioner.

It is BLIP-2 in small (Li et al. 2023): tokens of a frozen image encoder (as there, another than the CLIP that
measures the discrepancy), a linear projection, and a causal language model that reads them as a prefix and
writes greedily.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image
from torch import Tensor, nn

from tellsign.demo import weights as shipped
from tellsign.demo.towers import WIDTH, Block, Cache, PlaceEncoder, causal
from tellsign.demo.words import END, LENGTH, PAD, START, VOCABULARY, text_of

SIDE, POOL = 96, 4
PREFIX = (SIDE // PlaceEncoder.stride // POOL) ** 2


class PrefixLanguageModel(nn.Module):
    """A small causal transformer that continues a prefix of image tokens with words."""

    allowed: Tensor

    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.read = nn.Linear(2 * PlaceEncoder.dim, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(1, PREFIX, WIDTH))
        self.embedding = nn.Embedding(len(VOCABULARY), WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(1, LENGTH, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.norm_out = nn.LayerNorm(WIDTH)
        self.to_words = nn.Linear(WIDTH, len(VOCABULARY))
        self.register_buffer("allowed", prefix_mask(PREFIX, LENGTH), persistent=False)

    def prefix(self, image_tokens: Float[Tensor, "b 36 128"]) -> Float[Tensor, "b 36 96"]:
        """Project an image's tokens to what the language model reads."""
        return self.read(image_tokens) + self.place

    def forward(self, image_tokens: Float[Tensor, "b 36 128"], words: Int64[Tensor, "b n"]) -> Float[Tensor, "b n v"]:
        """Logits of the word that follows each of ``words``."""
        count = words.shape[1]
        x = torch.cat([self.prefix(image_tokens), self.embedding(words) + self.position[:, :count]], dim=1)
        for block in self.blocks:
            x = block(x, self.allowed[: PREFIX + count, : PREFIX + count])
        return self.to_words(self.norm_out(x[:, PREFIX:]))

    @torch.inference_mode()
    def write(self, image_tokens: Float[Tensor, "b 36 128"]) -> Int64[Tensor, "b n"]:
        """Numbers of the likeliest words, one after another, to the END of the longest caption or LENGTH.

        Keys and values of what was read are kept, so a word costs one token's work.
        """
        word = torch.full((len(image_tokens), 1), START, device=image_tokens.device)
        x = torch.cat([self.prefix(image_tokens), self.embedding(word) + self.position[:, :1]], dim=1)
        caches: list[Cache] = [[] for _ in self.blocks]
        allowed = self.allowed[: PREFIX + 1, : PREFIX + 1]
        written: list[Tensor] = []
        ended = torch.zeros_like(word, dtype=torch.bool)
        for i in range(1, LENGTH):
            for block, cache in zip(self.blocks, caches, strict=True):
                x = block(x, allowed, cache)
            word = self.to_words(self.norm_out(x[:, -1:])).argmax(2).masked_fill(ended, PAD)
            written.append(word)
            ended |= word == END
            if ended.all():
                break
            x, allowed = self.embedding(word) + self.position[:, i : i + 1], None
        return torch.cat(written, dim=1)


def prefix_mask(prefix: int, words: int) -> Bool[Tensor, "n n"]:
    """Who reads whom: the prefix reads itself, a word reads the prefix, itself and the words before it."""
    allowed = torch.ones(prefix + words, prefix + words, dtype=torch.bool)
    allowed[:prefix, prefix:] = False
    allowed[prefix:, prefix:] = causal(words)
    return allowed


def whole_views(images: list[UInt8[np.ndarray, "h w 3"]], side: int) -> UInt8[Tensor, "b 3 side side"]:
    """Whole images squeezed into squares (bicubic, anti-aliased), as BLIP-2's preprocessing does."""
    squares = [
        Image.fromarray(np.ascontiguousarray(image)).resize((side, side), Image.Resampling.BICUBIC) for image in images
    ]
    return torch.from_numpy(np.stack([np.asarray(square) for square in squares])).permute(0, 3, 1, 2)


def image_tokens(encoder: PlaceEncoder, pixels: UInt8[Tensor, "b 3 96 96"]) -> Float[Tensor, "b 36 128"]:
    """Mean and maximum of the encoder's features over squares of 16 × 16 pixels, row by row."""
    features = encoder(pixels.float() / 127.5 - 1)
    pooled = torch.cat([F.avg_pool2d(features, POOL), F.max_pool2d(features, POOL)], dim=1)
    return pooled.flatten(2).transpose(1, 2)


class DemoCaptioner(nn.Module):
    """The demo's captioner: frozen `PlaceEncoder` and `PrefixLanguageModel`."""

    def __init__(self, encoder: PlaceEncoder, language: PrefixLanguageModel, batch_size: int = 32) -> None:
        super().__init__()
        self.encoder, self.language, self.batch_size = encoder.requires_grad_(False), language, batch_size

    @torch.inference_mode()
    def caption(self, images: list[UInt8[np.ndarray, "h w 3"]]) -> list[str]:
        """One sentence for each image.

        Every batch is filled up to the same size: a product of matrices may round differently at another
        size, and an image's caption must not depend on its neighbours.
        """
        captions: list[str] = []
        device = self.language.position.device
        for start in range(0, len(images), self.batch_size):
            views = whole_views(images[start : start + self.batch_size], SIDE)
            full = torch.zeros(self.batch_size, *views.shape[1:], dtype=torch.uint8)
            full[: len(views)] = views
            written = self.language.write(image_tokens(self.encoder, full.to(device)))
            captions += [text_of(row) for row in written[: len(views)].tolist()]
        return captions


def load(settings: Mapping[str, Any], batch_size: int) -> DemoCaptioner:
    """Build the captioner with the weights that ship with the package."""
    encoder, language = PlaceEncoder(), PrefixLanguageModel()
    prefix = "body."
    grounder = shipped.read("demo-grounder")
    encoder.load_state_dict({k.removeprefix(prefix): v for k, v in grounder.items() if k.startswith(prefix)})
    language.load_state_dict(shipped.read("demo-captioner"))
    return DemoCaptioner(encoder, language, batch_size).eval()
