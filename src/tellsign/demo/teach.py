"""Training of the demo's small networks: images and words in, modules out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.demo.words import PAD

Pixels = UInt8[Tensor, "n 3 h w"]
Words = Int64[Tensor, "n 24"]


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Learning rate: up linearly over the first tenth, then down along half a cosine to 0."""
    warm = max(1, steps // 10)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def rows(count: int, batch: int, steps: int, generator: torch.Generator) -> Iterator[Int64[Tensor, " b"]]:
    """``steps`` batches of row numbers, epoch after epoch without repetition within one."""

    def endless() -> Iterator[Int64[Tensor, " b"]]:
        while True:
            yield from (
                chunk
                for chunk in torch.randperm(count, generator=generator).split(batch)
                if len(chunk) == batch
            )

    return itertools.islice(endless(), steps)


def contrastive_loss(
    images: Float[Tensor, "b d"], texts: Float[Tensor, "b d"], words: Words, scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """CLIP's symmetric cross-entropy (Radford et al. 2021, Fig. 3); images of equal texts share the target."""
    logits = scale.exp().clamp(max=50) * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    same = (words[:, None] == words[None]).all(2).float()
    target = same / same.sum(1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def caption_loss(language: nn.Module, tokens: Tensor, words: Words) -> Tensor:
    logits = language(tokens, words[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten(), ignore_index=PAD)
