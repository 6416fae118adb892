"""Training of the demo's small networks: views of scenes and their words in, modules out.

All draws come from the seed; with one thread the same machine gives the same bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.demo.captioner import PrefixLanguageModel, image_tokens
from tellsign.demo.grounder import UNIT, CentreNetwork, places
from tellsign.demo.towers import PlaceEncoder
from tellsign.demo.words import (
    BACKGROUND_COLOURS,
    BACKGROUNDS,
    COLOURS,
    NUMBER,
    PAD,
    SHAPES,
    tokenise,
)
from tellsign.networks.backbones.backbone import Clip
from tellsign.networks.backbones.loading import load_clip
from tellsign.networks.determinism import seeded
from tellsign.training.optimisers.adam_steps import Adam

Words = Int64[Tensor, "n 24"]
Loss = Float[Tensor, ""]


@dataclass(frozen=True)
class Thing:
    """An object in a view: corners in pixels of the view (they may lie outside), and its two words."""

    box: tuple[float, float, float, float]
    colour: str
    shape: str


@dataclass(frozen=True)
class View:
    """An image to learn from: a whole photograph, a crop, or an object."""

    pixels: UInt8[np.ndarray, "side side 3"]
    text: str
    background_colour: str
    background: str
    things: tuple[Thing, ...]


def stack(views: list[View]) -> UInt8[Tensor, "n 3 side side"]:
    """Pixels of views of one size."""
    return torch.from_numpy(np.stack([view.pixels for view in views])).permute(0, 3, 1, 2).contiguous()


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Learning rate: up linearly over the first tenth, then down along half a cosine."""
    warm = max(1, steps // 10)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def batches(count: int, size: int, steps: int, generator: torch.Generator) -> Iterator[Int64[Tensor, " b"]]:
    """``steps`` full batches of row numbers, pass after pass, in a new order each pass."""

    def endless() -> Iterator[Int64[Tensor, " b"]]:
        while True:
            order = torch.randperm(count, generator=generator)
            yield from order[: count // size * size].split(size)

    if count < size:
        raise ValueError(f"a batch of {size} cannot be drawn from {count} rows")
    return itertools.islice(endless(), steps)


# ---------------------------------------------------------------------------------------------- CLIP


def word_map(view: View, side: int) -> Int64[Tensor, "2 places"]:
    """The two words of each place of a side × side grid on a view, row by row.

    First colour and shape of the object whose box holds the place's middle, numbered from 0; elsewhere the
    background's colour and kind, numbered on after the colours and shapes.
    """
    words = torch.empty(2, side, side, dtype=torch.int64)
    words[0] = len(COLOURS) + BACKGROUND_COLOURS.index(view.background_colour)
    words[1] = len(SHAPES) + BACKGROUNDS.index(view.background)
    middle = (torch.arange(side) + 0.5) * (len(view.pixels) / side)
    for thing in view.things:
        x0, y0, x1, y1 = thing.box
        inside = ((middle >= y0) & (middle <= y1))[:, None] & ((middle >= x0) & (middle <= x1))[None]
        words[0][inside], words[1][inside] = COLOURS.index(thing.colour), SHAPES.index(thing.shape)
    return words.flatten(1)


def word_loss(
    logits: Float[Tensor, "b places 26"], words: Int64[Tensor, "b 2 places"], background: float = 0.3
) -> Loss:
    """Cross-entropy of both words: mean over objects' places, plus ``background`` × the mean elsewhere."""
    split = len(COLOURS) + len(BACKGROUND_COLOURS)
    first, second = logits.flatten(0, 1).split([split, logits.shape[-1] - split], dim=1)
    loss = F.cross_entropy(first, words[:, 0].flatten(), reduction="none")
    loss = loss + F.cross_entropy(second, words[:, 1].flatten(), reduction="none")
    on_object = (words[:, 0] < len(COLOURS)).flatten()
    return loss[on_object].mean() + background * loss[~on_object].mean()


def contrastive_loss(
    images: Float[Tensor, "b d"], texts: Float[Tensor, "b d"], words: Words, log_scale: Float[Tensor, ""]
) -> Loss:
    """CLIP's symmetric cross-entropy (Radford et al. 2021, Fig. 3); pairs of equal texts share the target."""
    scale = log_scale.exp().clamp(max=50)
    logits = scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    same = (words[:, None] == words[None]).all(2).float()
    target = same / same.sum(1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def teach_clip(
    name: str,
    views: tuple[list[View], list[View], list[View]],
    *,
    batch: tuple[int, int, int],
    word_steps: int,
    steps: int,
    lr: float,
    seed: int,
) -> Clip:
    """Train a demo CLIP: first the words of places alone, then the contrastive loss as well.

    Words of places (regions and their words, as in RegionCLIP, Zhong et al. 2022) are what lets a tower
    this small tell shapes within a minute; the layer that reads them is dropped.

    Args:
        name: ``demo-clip-vit`` or ``demo-clip-rn``.
        views: Whole photographs, crops, objects; all of the tower's size.
        batch: How many of each make a batch.
        word_steps: Steps without the contrastive loss, among ``steps``.
        steps: All steps.
        lr: Peak learning rate of AdamW (weight decay 0.02) under `one_cycle`.
        seed: Of initialisation and batches.
    """
    generator = torch.Generator().manual_seed(seed)
    clip = load_clip(name, "none", seed).train()
    pixels, texts = [stack(part) for part in views], [tokenise([v.text for v in part]) for part in views]
    with seeded(seed + 1), torch.no_grad():
        channels, side = clip.image.feature_map(clip.image.preprocess(pixels[0][:2])).shape[1:3]
        kinds = len(COLOURS) + len(BACKGROUND_COLOURS) + len(SHAPES) + len(BACKGROUNDS)
        reader = nn.Linear(channels, kinds)
        log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
    marks = [torch.stack([word_map(view, side) for view in part]) for part in views]
    optimiser = Adam([*clip.parameters(), *reader.parameters(), log_scale], lr=lr, weight_decay=0.02, decoupled=True)
    draws = zip(*(batches(len(p), n, steps, generator) for p, n in zip(pixels, batch, strict=True)), strict=True)
    for step, rows in enumerate(draws):
        x = clip.image.preprocess(torch.cat([p[r] for p, r in zip(pixels, rows, strict=True)]))
        x[:, :3] *= 1 + 0.1 * torch.randn(len(x), 1, 1, 1, generator=generator)  # light
        words = torch.cat([t[r] for t, r in zip(texts, rows, strict=True)])
        features, feature_map = clip.image.with_map(x)
        logits = reader(feature_map.flatten(2).transpose(1, 2))
        loss = word_loss(logits, torch.cat([m[r] for m, r in zip(marks, rows, strict=True)]))
        if step >= word_steps:
            loss = loss + contrastive_loss(features, clip.text(words), words, log_scale)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step(one_cycle(step, steps, lr))
    return clip.eval()


# ---------------------------------------------------------------------------------------------- grounder


@dataclass(frozen=True)
class Centres:
    """Targets of `CentreNetwork`, per place: 1 at middles, whether it counts, words (-1 off middles),
    sides.
    """

    objectness: Float[Tensor, "b h w"]
    counts: Float[Tensor, "b h w"]
    colours: Int64[Tensor, "b h w"]
    shapes: Int64[Tensor, "b h w"]
    sides: Float[Tensor, "b 4 h w"]


def centres(views: list[View]) -> Centres:
    """Targets of views: a place within 0.18 of a box's sides from its middle is that object's; up to 0.35
    it is left undecided.
    """
    side = len(views[0].pixels) // PlaceEncoder.stride
    x, y = places(side, side)
    shape = (len(views), side, side)
    objectness, counts = torch.zeros(shape), torch.ones(shape)
    colours, shapes = torch.full(shape, -1), torch.full(shape, -1)
    sides = torch.ones(len(views), 4, side, side)
    for row, view in enumerate(views):
        for thing in view.things:
            x0, y0, x1, y1 = thing.box
            away = torch.maximum((x - (x0 + x1) / 2).abs() / (x1 - x0), (y - (y0 + y1) / 2).abs() / (y1 - y0))
            middle, near = away < 0.18, away < 0.35
            counts[row][near & ~middle & (objectness[row] == 0)] = 0
            objectness[row][middle], counts[row][middle] = 1, 1
            colours[row][middle], shapes[row][middle] = COLOURS.index(thing.colour), SHAPES.index(thing.shape)
            sides[row][:, middle] = torch.stack([x - x0, y - y0, x1 - x, y1 - y])[:, middle] / UNIT
    return Centres(objectness, counts, colours, shapes, sides)


def centre_loss(network: CentreNetwork, features: Float[Tensor, "b 64 h w"], target: Centres) -> Loss:
    """Focal cross-entropy of objectness (Lin et al. 2017, γ = 2), cross-entropy of both words, L1 of log
    sides.
    """
    maps = network.read(features)
    middle = target.objectness > 0
    p = maps.objectness.detach().sigmoid()
    weight = torch.where(middle, (1 - p).square(), p.square()) * target.counts
    plain = F.binary_cross_entropy_with_logits(maps.objectness, target.objectness, reduction="none")
    loss = (weight * plain).sum() / middle.sum().clamp_min(1)
    loss = loss + F.cross_entropy(maps.colours, target.colours, ignore_index=-1)
    loss = loss + F.cross_entropy(maps.shapes, target.shapes, ignore_index=-1)
    apart = (maps.sides.log() - target.sides.clamp_min(0.05).log()).abs()
    return loss + apart.transpose(0, 1)[:, middle].mean()


def teach_grounder(views: list[View], *, batch: int, steps: int, lr: float, seed: int) -> CentreNetwork:
    """Train the grounder on whole photographs of 96 pixels.

    A second task, the background's words from the mean feature, makes the encoder fit for the captioner as
    well; the layer that reads them is dropped.
    """
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed):
        network = CentreNetwork().to(memory_format=torch.channels_last)
        nn.init.constant_(network.objectness.bias, -3.0)  # pyright: ignore[reportArgumentType]
        reader = nn.Linear(PlaceEncoder.dim, len(BACKGROUND_COLOURS) + len(BACKGROUNDS))
    pixels = stack(views)
    colour = torch.tensor([BACKGROUND_COLOURS.index(view.background_colour) for view in views])
    kind = torch.tensor([BACKGROUNDS.index(view.background) for view in views])
    optimiser = Adam([*network.parameters(), *reader.parameters()], lr=lr, weight_decay=1e-4, decoupled=True)
    for step, rows in enumerate(batches(len(views), batch, steps, generator)):
        features = network.body(pixels[rows].float() / 127.5 - 1)
        loss = centre_loss(network, features, centres([views[row] for row in rows.tolist()]))
        first, second = reader(features.mean((2, 3))).split([len(BACKGROUND_COLOURS), len(BACKGROUNDS)], dim=1)
        loss = loss + 0.3 * (F.cross_entropy(first, colour[rows]) + F.cross_entropy(second, kind[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step(one_cycle(step, steps, lr))
    return network.eval()


# ---------------------------------------------------------------------------------------------- captioner


def caption_loss(language: PrefixLanguageModel, tokens: Float[Tensor, "b 36 128"], words: Words) -> Loss:
    """Cross-entropy of each next word."""
    longest = int((words != PAD).sum(1).max())
    logits = language(tokens, words[:, : longest - 1])
    return F.cross_entropy(logits.flatten(0, 1), words[:, 1:longest].flatten(), ignore_index=PAD)


def mirrored(tokens: Float[Tensor, "b 36 128"], words: Words, axis: int) -> tuple[Float[Tensor, "b 36 128"], Words]:
    """Tokens of mirrored images, and the captions that then hold.

    Args:
        tokens: Row by row on a square grid.
        words: Captions.
        axis: 1 turns upside down (above ↔ below), 2 left to right (left ↔ right).
    """
    side = round(tokens.shape[1] ** 0.5)
    one, other = (NUMBER[word] for word in (("above", "below") if axis == 1 else ("left", "right")))
    swapped = torch.where(words == one, other, torch.where(words == other, one, words))
    return tokens.unflatten(1, (side, side)).flip(axis).flatten(1, 2), swapped


def teach_captioner(
    encoder: PlaceEncoder, views: list[View], *, batch: int, steps: int, lr: float, seed: int
) -> PrefixLanguageModel:
    """Train the captioner's language model on whole photographs of 96 pixels; the encoder stays as it is.

    Half of each batch is mirrored left to right, half of each half upside down.
    """
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed):
        language = PrefixLanguageModel()
    with torch.no_grad():
        tokens = torch.cat([image_tokens(encoder, part) for part in stack(views).split(32)])
    words = tokenise([view.text for view in views])
    optimiser = Adam(language.parameters(), lr=lr, weight_decay=0.01, decoupled=True)
    for step, rows in enumerate(batches(len(views), batch, steps, generator)):
        parts = [(tokens[part], words[part]) for part in rows.split(-(-batch // 4))]
        parts = [mirrored(*part, axis=2) if i % 4 in (0, 1) else part for i, part in enumerate(parts)]
        parts = [mirrored(*part, axis=1) if i % 4 in (0, 2) else part for i, part in enumerate(parts)]
        loss = caption_loss(language, torch.cat([t for t, _ in parts]), torch.cat([w for _, w in parts]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step(one_cycle(step, steps, lr))
    return language.eval()
