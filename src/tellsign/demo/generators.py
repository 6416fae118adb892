"""Eight small generators, trained on the spot in seconds, that re-make a photograph.

Each leaves the trace of its family: transposed convolutions, nearest or bilinear upsampling, sub-pixel
convolution, quantised latents, diffusion in a latent space or on pixels, a layout-to-image GAN. Those of one
pass share what keeps a fake from being given away at a glance: grain, a small patch discriminator (hinge
loss; Lim & Ye 2017) and a spectral loss after Durall et al. 2020, so that it carries as much fine detail as a
photograph.

Photographs are tensors in [-1, 1]. Height and width are multiples of 8.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tellsign.system.devices import seeded
from tellsign.training.fit import Adam

Photos = Float[Tensor, "b 3 h w"]
Draw = Callable[[int, int, int], Tensor]
"""Standard normal noise for the batch at hand: (channels, height, width) to (b, channels, height, width)."""
Crops = Callable[[], Photos]

M = TypeVar("M", bound=nn.Module)
ACTIVATION = partial(nn.LeakyReLU, 0.2, inplace=True)


def batch_draw(count: int, generator: torch.Generator, device: torch.device) -> Draw:
    """Noise for a training batch, all from one generator."""
    return lambda c, h, w: _last(torch.randn(count, c, h, w, generator=generator).to(device))


def image_draw(generators: Sequence[torch.Generator], device: torch.device) -> Draw:
    """Noise for sampling: each image has its own generator, whatever batch it is in."""
    return lambda c, h, w: _last(torch.stack([torch.randn(c, h, w, generator=g) for g in generators]).to(device))


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def random_crops(
    photos: Sequence[UInt8[Tensor, "3 h w"]],
    size: int,
    count: int,
    generator: torch.Generator,
    device: torch.device,
) -> Photos:
    """Random squares of ``size`` pixels out of random photographs, as a batch in [-1, 1]."""
    rows = torch.randint(len(photos), (count,), generator=generator).tolist()
    crops = []
    for row in rows:
        height, width = photos[row].shape[1:]
        top = int(torch.randint(height - size + 1, (), generator=generator))
        left = int(torch.randint(width - size + 1, (), generator=generator))
        crops.append(photos[row][:, top : top + size, left : left + size])
    return to_signed(torch.stack(crops).to(device))


def to_signed(pixels: UInt8[Tensor, "b 3 h w"]) -> Photos:
    """Bytes to [-1, 1]."""
    return _last(pixels.float() / 127.5 - 1)


def to_bytes(photos: Photos) -> UInt8[Tensor, "b 3 h w"]:
    """[-1, 1] (clipped) to bytes, rounded."""
    return ((photos.clamp(-1, 1) + 1) * 127.5 + 0.5).clamp(0, 255).to(torch.uint8)


def to_device(module: M, device: torch.device) -> M:
    """Move a network, in the memory layout that small convolutions are fastest in."""
    return module.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


# ------------------------------------------------------------------------------------------------ losses


@cache
def _rings(size: int) -> Float[Tensor, "frequencies rings"]:
    """Which of the two-dimensional frequencies of ``rfft2`` lie on which ring; the columns sum to one."""
    fy, fx = torch.fft.fftfreq(size)[:, None] * size, torch.fft.rfftfreq(size)[None] * size
    ring = (torch.hypot(fy, fx) / 2).long().clamp(max=size // 3)
    member = F.one_hot(ring.flatten()).float()
    return member / member.sum(0)


def radial_spectrum(photos: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 3 rings"]:
    """Logarithm of the mean power on rings of equal frequency, two bins wide, of each image and colour."""
    power = torch.fft.rfft2(photos.contiguous(), norm="ortho").abs().square().flatten(2)
    return torch.log(power @ _rings(photos.shape[-1]).to(photos.device) + 1e-5)


def spectral_loss(fake: Float[Tensor, "b 3 s s"], real: Float[Tensor, "b 3 s s"]) -> Float[Tensor, ""]:
    """Mean absolute difference of the radial spectra of each fake and its photograph.

    The idea is Durall et al. 2020; they compare profiles by cross-entropy, here their logarithms are compared
    in L1, which weighs the weak high frequencies like the strong low ones.
    """
    return (radial_spectrum(fake) - radial_spectrum(real)).abs().mean()


def one_cycle(step: int, steps: int, warm: float = 0.15) -> float:
    """Share of the peak learning rate: half a cosine up for the first ``warm`` of the steps, then down."""
    at = (step + 1) / (steps + 1)
    phase = at / warm - 1 if at < warm else (at - warm) / (1 - warm)
    return 0.5 + 0.5 * math.cos(math.pi * phase)


# ------------------------------------------------------------------------------------------------ parts


class Residual(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), ACTIVATION(), nn.Conv2d(width, width, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return x + self.body(x)


class Nearest(nn.Module):
    """Repeat pixels, then convolve."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, narrow, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Doubles height and width."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Bilinear(nn.Module):
    """Interpolate, then convolve."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, narrow, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Doubles height and width."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))


class Shuffle(nn.Module):
    """Sub-pixel convolution (Shi et al. 2016)."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, 4 * narrow, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Doubles height and width."""
        return F.pixel_shuffle(self.conv(x), 2)


class Transposed(nn.Module):
    """Transposed convolution, kernel 4, stride 2."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(wide, narrow, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Doubles height and width."""
        return self.conv(x)


Upsampler = Callable[[int, int], nn.Module]


class Grain(nn.Module):
    """Add noise, with a learned strength for each channel (as StyleGAN does; Karras et al. 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.full((1, width, 1, 1), 0.1))

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        """Same shape."""
        return x + self.strength * draw(1, *x.shape[2:])


class Decoder(nn.Module):
    """Latent at a quarter of the size to photograph: two upsamplings, grain after each.

    The first three latent channels are the photograph's colours at a quarter of its size; they also reach the
    output through a path of their own, upsampled by the same kind of layer (the RGB skips of StyleGAN2).
    """

    def __init__(self, upsampler: Upsampler, latents: int, width: int = 32) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(latents, width, 3, 1, 1), ACTIVATION(), Residual(width))
        self.up = nn.ModuleList([upsampler(width, width // 2), upsampler(width // 2, 16)])
        self.grain = nn.ModuleList([Grain(width // 2), Grain(16)])
        self.colours = nn.ModuleList([interpolating(upsampler) for _ in range(2)])
        self.out = nn.Conv2d(16, 3, 3, 1, 1)

    def forward(self, z: Tensor, draw: Draw) -> Photos:
        """(b, latents, h, w) to (b, 3, 4h, 4w)."""
        x, colours = self.head(z), z[:, :3]
        for up, grain, double in zip(self.up, self.grain, self.colours, strict=True):
            x = F.leaky_relu(grain(up(x), draw), 0.2)
            colours = double(colours)
        return colours + self.out(x)


def interpolating(upsampler: Upsampler) -> nn.Module:
    """An upsampling layer for three colours whose weights start as bilinear interpolation."""
    layer = upsampler(3, 3)
    weight, bias = (dict(layer.named_parameters())[f"conv.{name}"] for name in ("weight", "bias"))
    colours = torch.eye(3)
    with torch.no_grad():
        bias.zero_()
        if isinstance(layer, Transposed):
            taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
            weight.copy_(torch.einsum("oi,y,x->oiyx", colours, taps, taps))
        elif isinstance(layer, Shuffle):  # output channel: colour, then row and column within the block of four
            taps = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
            weight.copy_(torch.einsum("oi,ay,bx->oabiyx", colours, taps, taps).reshape(12, 3, 3, 3))
        else:
            taps = torch.tensor([0.25, 0.5, 0.25] if isinstance(layer, Nearest) else [0.0, 1.0, 0.0])
            weight.copy_(torch.einsum("oi,y,x->oiyx", colours, taps, taps))
    return layer


def encoder(latents: int, width: int = 16) -> nn.Sequential:
    """Photograph to latent channels at a quarter of its size."""
    last = nn.Conv2d(2 * width, latents, 1)
    with torch.no_grad():
        last.weight.mul_(5)  # latents of about unit size from the start, well above noise and quantisation
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1),
        ACTIVATION(),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        ACTIVATION(),
        Residual(2 * width),
        last,
    )


def discriminator(width: int = 16) -> nn.Sequential:
    """Scores patches of 16 pixels (Isola et al. 2017)."""
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1),
        ACTIVATION(),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        ACTIVATION(),
        nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
        ACTIVATION(),
        nn.Conv2d(2 * width, 1, 1),
    )


# ------------------------------------------------------------------------------------------------ generators


class Generator(nn.Module, ABC):
    """What all eight have in common: they learn from crops, and then re-make whole photographs."""

    crop = 64

    @abstractmethod
    def learn(self, crops: Callable[[], Photos], steps: int, generator: torch.Generator) -> list[float]:
        """Train in place for ``steps`` steps; ``crops`` gives a batch; returns the loss of each step."""

    @abstractmethod
    def remake(self, photos: Photos, draw: Draw) -> Photos:
        """The fake of each photograph."""


class OneShot(Generator):
    """A generator of one forward pass, trained with L1, spectral and adversarial losses."""

    adversarial = 0.02
    spectral = 0.2

    @abstractmethod
    def forward(self, photos: Photos, draw: Draw) -> tuple[Photos, Float[Tensor, ""]]:
        """The fakes and a penalty of the family's own (0 where it has none)."""

    def learn(self, crops: Callable[[], Photos], steps: int, generator: torch.Generator) -> list[float]:
        """Train; the discriminator starts at a quarter of the steps and is listened to from 0.4 on."""
        with seeded(int(torch.randint(2**31, (), generator=generator))):
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

    def remake(self, photos: Photos, draw: Draw) -> Photos:
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

    def forward(self, photos: Photos, draw: Draw) -> tuple[Photos, Float[Tensor, ""]]:
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

    def forward(self, photos: Photos, draw: Draw) -> tuple[Photos, Float[Tensor, ""]]:
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

    def forward(self, photos: Photos, draw: Draw) -> tuple[Photos, Float[Tensor, ""]]:
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

    def edit(self, x: Tensor, draw: Draw, levels: Sequence[float]) -> Tensor:
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

    def remake(self, photos: Photos, draw: Draw) -> Photos:
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

    def remake(self, photos: Photos, draw: Draw) -> Photos:
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
