"""What the demo's generators are made of: pixels as tensors, losses, layers.

Photographs are tensors in [-1, 1]. Height and width are multiples of 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

Photos = Float[Tensor, "b 3 h w"]
Noise = Callable[[int, int, int], Tensor]
"""Standard normal noise for the batch at hand: (channels, height, width) to (b, channels, height, width)."""
Crops = Callable[[], Photos]

M = TypeVar("M", bound=nn.Module)
ACTIVATION = partial(nn.LeakyReLU, 0.2, inplace=True)


def batch_draw(count: int, generator: torch.Generator, device: torch.device) -> Noise:
    """Noise for a training batch, all from one generator."""
    return lambda c, h, w: _last(torch.randn(count, c, h, w, generator=generator).to(device))


def image_draw(generators: Sequence[torch.Generator], device: torch.device) -> Noise:
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

    def forward(self, x: Tensor, draw: Noise) -> Tensor:
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

    def forward(self, z: Tensor, draw: Noise) -> Photos:
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
