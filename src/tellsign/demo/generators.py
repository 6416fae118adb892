"""Eight small generators, trained on the spot in seconds, that re-make a photograph.

Each leaves the trace of its family: transposed convolutions, nearest or bilinear upsampling, sub-pixel
convolution, quantised latents, diffusion in a latent space or on pixels, a layout-to-image GAN. Those of one
pass share what keeps a fake from being given away at a glance: grain, a small patch discriminator (hinge
loss; Lim & Ye 2017) and a spectral loss after Durall et al. 2020, so that it carries as much fine detail as a
photograph.
Their layers and losses are in `tellsign.demo.layers`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tellsign.demo.layers import (
    ACTIVATION,
    Bilinear,
    Decoder,
    Grain,
    Nearest,
    Noise,
    Photos,
    Residual,
    Shuffle,
    Transposed,
    Upsampler,
    _last,
    batch_draw,
    discriminator,
    encoder,
    one_cycle,
    spectral_loss,
    to_device,
)
from tellsign.networks.determinism import drawn_from
from tellsign.training.optimisers.adam_steps import Adam


class Generator(nn.Module, ABC):
    """What all eight have in common: they learn from crops, and then re-make whole photographs."""

    crop = 64

    @abstractmethod
    def learn(self, crops: Callable[[], Photos], steps: int, generator: torch.Generator) -> list[float]:
        """Train in place for ``steps`` steps; ``crops`` gives a batch; returns the loss of each step."""

    @abstractmethod
    def remake(self, photos: Photos, draw: Noise) -> Photos:
        """The fake of each photograph."""


class OneShot(Generator):
    """A generator of one forward pass, trained with L1, spectral and adversarial losses."""

    adversarial = 0.02
    spectral = 0.2

    @abstractmethod
    def forward(self, photos: Photos, draw: Noise) -> tuple[Photos, Float[Tensor, ""]]:
        """The fakes and a penalty of the family's own (0 where it has none)."""

    def learn(self, crops: Callable[[], Photos], steps: int, generator: torch.Generator) -> list[float]:
        """Train; the discriminator starts at a quarter of the steps and is listened to from 0.4 on."""
        with drawn_from(generator):
            critic = to_device(discriminator(), next(self.parameters()).device)
        mine = Adam(self.parameters(), lr=3e-3, betas=(0.5, 0.99))
        its = Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.99))
        losses = []
        for step in range(steps):
            real = crops()
            fake, penalty = self(real, batch_draw(len(real), generator, real.device))
            loss = F.l1_loss(fake, real) + penalty + self.spectral * spectral_loss(fake, real)
            losses.append(float(loss.detach()))
            if step >= 0.4 * steps:
                loss = loss - self.adversarial * critic(fake).mean()
            mine.zero_grad()
            loss.backward()
            mine.step(mine.lr * one_cycle(step, steps))
            if step >= 0.25 * steps:
                doubt = F.relu(1 - critic(real)).mean() + F.relu(1 + critic(fake.detach())).mean()
                its.zero_grad()
                doubt.backward()
                its.step()
        return losses

    def remake(self, photos: Photos, draw: Noise) -> Photos:
        """One forward pass."""
        return self(photos, draw)[0]


class Autoencoder(OneShot):
    """Photograph to latent and back: the colours at a quarter of the size and learned channels beside them.

    Args:
        upsampler: How the decoder doubles the size; it makes the family's trace.
        latents: Learned channels.
        noise: Spread of the noise on the latent in training (a VAE with a fixed posterior), 0 for none.
        levels: Levels of each learned channel (finite scalar quantisation; Mentzer et al. 2023), 0 for none.
    """

    def __init__(self, upsampler: Upsampler, *, latents: int = 6, noise: float = 0.0, levels: int = 0) -> None:
        super().__init__()
        self.encoder = encoder(latents)
        self.decoder = Decoder(upsampler, 3 + latents)
        self.noise, self.levels = noise, levels

    def encode(self, photos: Photos) -> Float[Tensor, "b latents h/4 w/4"]:
        """The latent, quantised where the family does so."""
        z = torch.cat([F.avg_pool2d(photos, 4), self.encoder(photos)], 1)
        if self.levels:
            steps = z.new_tensor([20.0] * 3 + [self.levels - 1.0] * (z.shape[1] - 3)).view(1, -1, 1, 1) / 2
            fine = z.clamp(-1, 1) * steps
            z = (fine + (fine.round() - fine).detach()) / steps  # straight through
        return z

    def forward(self, photos: Photos, draw: Noise) -> tuple[Photos, Float[Tensor, ""]]:
        """Reconstruction, and a small pull of the latent towards 0 where it is noisy."""
        z = self.encode(photos)
        if self.noise and self.training:
            z = z + self.noise * draw(*z.shape[1:])
        return self.decoder(z, draw), 1e-4 * z.square().mean()


class SuperResolution(OneShot):
    """A photograph reduced to a quarter of its side and enlarged again (SRGAN; Ledig et al. 2017)."""

    adversarial = 0.04

    def __init__(self, upsampler: Upsampler) -> None:
        super().__init__()
        self.decoder = Decoder(upsampler, 4)

    def forward(self, photos: Photos, draw: Noise) -> tuple[Photos, Float[Tensor, ""]]:
        """Enlarged photographs."""
        small = F.avg_pool2d(photos, 4)
        return self.decoder(torch.cat([small, draw(1, *small.shape[2:])], 1), draw), photos.new_zeros(())


class LayoutGan(OneShot):
    """A map of flat regions to a photograph (pix2pix; Isola et al. 2017).

    The map is the photograph smoothed and posterised to fourteen levels a colour: it says where something is
    and roughly of what colour; texture, grain and edges are made up.
    """

    adversarial = 0.04
    levels = 14

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), ACTIVATION())
        self.middle = nn.Sequential(nn.Conv2d(16, width, 4, 2, 1), ACTIVATION())
        self.quarter = nn.Sequential(
            nn.Conv2d(width + 2, 2 * width, 4, 2, 1), ACTIVATION(), Residual(2 * width), Residual(2 * width)
        )
        self.up = nn.ModuleList([Nearest(2 * width, width), Nearest(width, 16)])
        self.grain = nn.ModuleList([Grain(width), Grain(16)])
        self.out = nn.Conv2d(16, 3, 3, 1, 1)

    def layout(self, photos: Photos) -> Photos:
        """The map, as colours in [-1, 1]."""
        smooth = F.avg_pool2d(F.pad(photos, (2, 2, 2, 2), mode="reflect"), 5, 1)
        scale = (self.levels - 1) / 2
        return torch.round((smooth + 1) * scale) / scale - 1

    def forward(self, photos: Photos, draw: Noise) -> tuple[Photos, Float[Tensor, ""]]:
        """Photographs that fit the maps of the given ones."""
        layout = self.layout(photos)
        fine = self.fine(layout)
        half = self.middle(fine)
        deep = self.quarter(torch.cat([half, draw(2, *half.shape[2:])], 1))
        x = F.leaky_relu(self.grain[0](self.up[0](deep), draw), 0.2)
        x = F.leaky_relu(self.grain[1](self.up[1](x + half), draw), 0.2)
        base = F.avg_pool2d(F.pad(layout, (2, 2, 2, 2), mode="reflect"), 5, 1)
        return base + self.out(x + fine), photos.new_zeros(())


class Denoiser(nn.Module):
    """Predicts the clean signal from a noisy one, preconditioned after Karras et al. 2022 (EDM, table 1).

    Args:
        channels: Of the signal.
        fold: Side of the blocks of pixels that are folded into channels, so that the network works on less.
        width: Of the network.
    """

    spread = 0.5  # of the signal ("sigma data")

    def __init__(self, channels: int, fold: int, width: int) -> None:
        super().__init__()
        self.fold = fold
        self.first = nn.Conv2d(channels * fold**2, width, 3, 1, 1)
        self.blocks = nn.ModuleList([nn.Conv2d(width, width, 3, 1, 1) for _ in range(4)])
        self.level = nn.Linear(8, len(self.blocks) * width)
        self.last = nn.Conv2d(width, channels * fold**2, 3, 1, 1)
        nn.init.zeros_(self.last.weight)  # begins as plain shrinkage; learns in a third of the steps
        nn.init.zeros_(self.last.bias) if self.last.bias is not None else None

    def forward(self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """The mean of the clean signals that ``x`` may have come from at noise level ``sigma``."""
        s = sigma.view(-1, 1, 1, 1)
        total = (s**2 + self.spread**2).sqrt()
        angle = sigma.log()[:, None] * sigma.new_tensor([0.5, 1.0, 2.0, 4.0])
        shifts = self.level(torch.cat([angle.sin(), angle.cos()], 1))[:, :, None, None].chunk(len(self.blocks), 1)
        h = F.leaky_relu(self.first(_last(F.pixel_unshuffle(x / total, self.fold))), 0.2)
        for block, shift in zip(self.blocks, shifts, strict=True):
            h = h + F.leaky_relu(block(h) + shift, 0.2)
        correction = F.pixel_shuffle(self.last(h), self.fold)
        return (self.spread / total) ** 2 * x + s * self.spread / total * correction

    def learn(
        self, signals: Callable[[], Tensor], steps: int, low: float, high: float, generator: torch.Generator
    ) -> list[float]:
        """Train on noise levels drawn log-uniformly from ``low`` to ``high``; returns the weighted losses."""
        mine = Adam(self.parameters(), lr=6e-3, betas=(0.9, 0.99))
        losses = []
        for step in range(steps):
            x = signals()
            at = torch.rand(len(x), generator=generator).to(x.device)
            sigma = torch.exp(math.log(low) + math.log(high / low) * at)
            s = sigma.view(-1, 1, 1, 1)
            guess = self(x + s * batch_draw(len(x), generator, x.device)(*x.shape[1:]), sigma)
            weight = (s**2 + self.spread**2) / (s * self.spread) ** 2
            loss = (weight * (guess - x).square()).mean()
            losses.append(float(loss.detach()))
            mine.zero_grad()
            loss.backward()
            mine.step(mine.lr * one_cycle(step, steps))
        return losses

    def edit(self, x: Tensor, draw: Noise, levels: Sequence[float]) -> Tensor:
        """Add noise of the first level, then walk down to 0 by Euler steps (SDEdit; Meng et al. 2022)."""
        x = x + levels[0] * draw(*x.shape[1:])
        for now, following in zip(levels, (*levels[1:], 0.0), strict=True):
            clean = self(x, x.new_full((len(x),), now))
            x = clean + (x - clean) * (following / now)
        return x


class LatentDiffusion(Generator):
    """Diffusion in the latent space of a variational autoencoder (Rombach et al. 2022)."""

    levels = (0.15, 0.09, 0.05)

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder = Autoencoder(Transposed, noise=0.05)
        self.denoiser = Denoiser(9, 1, 48)
        self.register_buffer("mean", torch.zeros(1, 9, 1, 1))
        self.register_buffer("scale", torch.ones(1, 9, 1, 1))

    def learn(self, crops: Callable[[], Photos], steps: int, generator: torch.Generator) -> list[float]:
        """Train the autoencoder, then the denoiser on its latents, ``steps`` steps each."""
        losses = self.autoencoder.learn(crops, steps, generator)
        with torch.no_grad():
            z = torch.cat([self.autoencoder.encode(crops()) for _ in range(4)])
        self.mean = z.mean((0, 2, 3), keepdim=True)
        self.scale = z.std((0, 2, 3), keepdim=True) / Denoiser.spread

        @torch.no_grad()
        def latents() -> Tensor:
            return (self.autoencoder.encode(crops()) - self.mean) / self.scale

        return losses + self.denoiser.learn(latents, steps, 0.04, 0.3, generator)

    def remake(self, photos: Photos, draw: Noise) -> Photos:
        """Encode, noise and denoise, decode."""
        z = (self.autoencoder.encode(photos) - self.mean) / self.scale
        return self.autoencoder.decoder(self.denoiser.edit(z, draw, self.levels) * self.scale + self.mean, draw)


class PixelDiffusion(Generator):
    """Diffusion on pixels (Ho et al. 2020)."""

    crop = 32
    levels = (0.2, 0.1, 0.05, 0.025)

    def __init__(self) -> None:
        super().__init__()
        self.denoiser = Denoiser(3, 2, 32)

    def learn(self, crops: Callable[[], Photos], steps: int, generator: torch.Generator) -> list[float]:
        """Train the denoiser."""
        return self.denoiser.learn(crops, steps, 0.02, 0.25, generator)

    def remake(self, photos: Photos, draw: Noise) -> Photos:
        """Noise and denoise."""
        return self.denoiser.edit(photos, draw, self.levels)


GENERATORS: dict[str, Callable[[], Generator]] = {
    "ldm": LatentDiffusion,
    "vae_deconv": partial(Autoencoder, Transposed, noise=0.08),
    "ae_nearest": partial(Autoencoder, Nearest),
    "sr_bilinear": partial(SuperResolution, Bilinear),
    "sr_shuffle": partial(SuperResolution, Shuffle),
    "fsq": partial(Autoencoder, Nearest, levels=6),
    "layout_gan": LayoutGan,
    "pixel_ddpm": PixelDiffusion,
}
