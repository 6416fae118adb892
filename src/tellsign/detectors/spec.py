"""Spec: a ResNet-34 that sees the logarithm of an image's spectrum (Zhang et al. 2019).

Written from "Detecting and Simulating Artifacts in GAN Fake Images" (arXiv 1907.06515). Where its public code decides
what the paper leaves open, the place says so. The code's class 0 is fake.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tellsign.detectors.from_imagenet import FromImageNet
from tellsign.errors import choose
from tellsign.networks.resnets import resnet

FLOOR = 1e-3
"""What is added to a magnitude before its logarithm is taken."""

LOW, NOT_HIGH = (57, 177), (21, 203)
"""Rows and columns of the low frequencies, and of all but the high ones, out of 224 with frequency 0 at 112; the former
do not lie about it evenly (public code)."""

BANDS: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "full": ((0, 224), (0, 0)),
    "low": (LOW, (0, 0)),
    "middle": (NOT_HIGH, LOW),
    "high": ((0, 224), NOT_HIGH),
}
"""Which frequencies are seen: those within the first range of rows and columns and not within the second."""


class Spectrum(nn.Module):
    """Pixels to the logarithm of each channel's spectrum, in [-1, 1], blue first and frequency 0 in the corner.

    From its 5th to its 95th percentile a channel fills [-1, 1]; what lies beyond is cut off. The transform is computed
    in double precision, as NumPy did when the public code was written.

    Args:
        band: One of `BANDS`; frequencies outside are 0 (public code).
    """

    def __init__(self, band: str) -> None:
        super().__init__()
        self.kept, self.cleared = choose(BANDS, band, "band")

    def forward(self, pixels: UInt8[Tensor, "b 3 s s"]) -> Float[Tensor, "b 3 s s"]:
        """The scaled spectrum."""
        x = (pixels.flip(1).float() / 255).double()
        spectrum = (torch.fft.fft2(x).abs() + FLOOR).log()
        low, high = spectrum.flatten(2).quantile(torch.tensor([0.05, 0.95], dtype=x.dtype, device=x.device), dim=2)
        low, high = low[..., None, None], high[..., None, None]
        span = (high - low).clamp(min=1e-9)  # an even channel has none
        scaled = (((spectrum - low) / span - 0.5) * 2).clamp(-1, 1)
        return (scaled * self.mask(x.shape[-1], x.device)).float()

    def mask(self, side: int, device: torch.device) -> Float[Tensor, "s s"]:
        """Ones where the band is, else zeros."""

        def within(start: int, end: int) -> Tensor:
            order = torch.arange(side, device=device) * 224
            inside = (order >= start * side) & (order < end * side)
            return torch.fft.ifftshift(inside[:, None] & inside)

        return (within(*self.kept) & ~within(*self.cleared)).double()


class SpecMethod(FromImageNet):
    """A ResNet-34 with two outputs on `Spectrum`."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> nn.Sequential:
        """See `CropMethod.network`."""
        return resnet("resnet34", 2)

    @classmethod
    def front(cls, settings: Mapping[str, Any]) -> Spectrum:
        """See `CropMethod.front`."""
        return Spectrum(settings["band"])
