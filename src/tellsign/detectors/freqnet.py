"""FreqNet: a small network that looks at high frequencies, of the image and of its own features (Tan et al. 2024).

Written from "Frequency-Aware Deepfake Detection: Improving Generalizability through Frequency Space Domain Learning"
(arXiv 2403.07240). Where its public code decides what the paper leaves open, the place says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fft, nn

from tellsign.detectors.on_crops import CropMethod
from tellsign.networks.bottleneck import kaiming_fan_out, stage

WIDTHS = ((3, 64), (64, 64), (256, 256), (256, 256))
"""Channels that come into and go out of each of the four stages in the frequency domain."""


class HighPass(nn.Module):
    """Take the low frequencies off along some axes; what is negative after that is set to zero.

    Of n frequencies in ascending order those from n // 2 - n // 4 up to, not including, n // 2 + n // 4 are low, along
    all axes at once: half of each axis. The range is not symmetric, so that the result is complex, and its real part is
    taken (public code).

    Args:
        axes: Rows and columns, or channels.
    """

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The high frequencies, in the domain of ``x``."""
        low = torch.ones((), dtype=torch.bool, device=x.device)
        for axis in self.axes:
            n = x.shape[axis]
            order = torch.arange(n, device=x.device)
            chosen = fft.ifftshift((order >= n // 2 - n // 4) & (order < n // 2 + n // 4))
            low = low & chosen.view([-1 if one == axis % x.ndim else 1 for one in range(x.ndim)])
        spectrum = fft.fftn(x, dim=self.axes, norm="ortho").masked_fill(low, 0)
        return fft.ifftn(spectrum, dim=self.axes, norm="ortho").real.relu()


class FreqNet(nn.Module):
    """Two stages in the frequency domain, three bottleneck blocks, two such stages and four blocks; 1.850 M parameters.

    The blocks are those of ResNet-50's first two stages. Names of parameters and layers are those of the public code.
    """

    def __init__(self) -> None:
        super().__init__()
        for number, (inputs, outputs) in enumerate(WIDTHS, start=1):
            # both from N(0, 1), not scaled (public code)
            self.register_parameter(f"weight{number}", nn.Parameter(torch.randn(outputs, inputs, 1, 1)))
            self.register_parameter(f"bias{number}", nn.Parameter(torch.randn(outputs)))
            self.add_module(f"realconv{number}", nn.Conv2d(outputs, outputs, 1, bias=False))
            self.add_module(f"imagconv{number}", nn.Conv2d(outputs, outputs, 1, bias=False))
        self.spatial, self.channel = HighPass(-2, -1), HighPass(1)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = stage(64, 64, 3, 1), stage(256, 128, 4, 2)
        self.fc1 = nn.Linear(512, 1)
        kaiming_fan_out(self)

    def frequency_layer(self, x: Float[Tensor, "b c h w"], number: int) -> Float[Tensor, "b c h w"]:
        """A layer on the spectrum: one 1 × 1 convolution of its real part, another of its imaginary part, ReLU after.

        The paper speaks of amplitude and phase; this is what its public code does.
        """
        spectrum = fft.fft2(x, norm="ortho")
        real = self.get_submodule(f"realconv{number}")(spectrum.real)
        imaginary = self.get_submodule(f"imagconv{number}")(spectrum.imag)
        return fft.ifft2(torch.complex(real, imaginary), norm="ortho").real.relu()

    def frequency_stage(
        self, x: Float[Tensor, "b i h w"], number: int, *, stride: int = 1, channels: bool = False
    ) -> Float[Tensor, "b o h2 w2"]:
        """High-pass, a 1 × 1 convolution, a high-pass over channels where asked for, and the layer on the spectrum."""
        weight, bias = self.get_parameter(f"weight{number}"), self.get_parameter(f"bias{number}")
        x = F.conv2d(self.spatial(x), weight, bias, stride).relu()
        return self.frequency_layer(self.channel(x) if channels else x, number)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Logits of fake."""
        x = self.frequency_stage(x, 1, channels=True)
        x = self.frequency_stage(x, 2, channels=True, stride=2)
        x = self.layer1(self.maxpool(x))
        x = self.frequency_stage(x, 3)
        x = self.frequency_stage(x, 4, stride=2)
        return self.fc1(self.layer2(x).mean((2, 3)))[:, 0]


class FreqNetMethod(CropMethod):
    """`FreqNet` on crops."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> FreqNet:
        """See `CropMethod.network`."""
        return FreqNet()
