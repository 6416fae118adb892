"""SAFE: a small ResNet that sees the finest diagonal details of an image that is not resized (Li et al. 2025).

Written from "Improving Synthetic Image Detection Towards Generalization: An Image Transformation Perspective" (arXiv
2408.06741). Where its public code decides what the paper leaves open, the place says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from PIL import Image, ImageEnhance
from torch import Tensor, nn

from tellsign.data.pixels import PixelTable
from tellsign.detectors.whole_images import WholeImages
from tellsign.networks.bottleneck import kaiming_fan_out, stage
from tellsign.networks.wavelets import diagonal_details

CELL = 16
"""Side of the cells that a mask blackens, in pixels."""

ENHANCERS: tuple[Callable[[Image.Image], Any], ...] = (
    ImageEnhance.Brightness,
    ImageEnhance.Contrast,
    ImageEnhance.Color,
)


def distorted(
    image: UInt8[Tensor, "3 s s"], angle: float, order: Sequence[int], factors: Sequence[float]
) -> UInt8[Tensor, "3 s s"]:
    """Turned around its centre to the nearest pixels, black beyond its border; then enhanced in some order."""
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    picture = picture.rotate(angle, resample=Image.Resampling.NEAREST)
    for number in order:
        picture = ENHANCERS[number](picture).enhance(factors[number])
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def masked(image: UInt8[Tensor, "3 s s"], share: float, generator: torch.Generator) -> UInt8[Tensor, "3 s s"]:
    """A share of the image's area blackened, in whole cells."""
    rows, columns = image.shape[1] // CELL, image.shape[2] // CELL
    count = int(image.shape[1] * image.shape[2] * share / CELL**2)
    out = image.clone()
    for cell in torch.randperm(rows * columns, generator=generator)[:count].tolist():
        top, left = cell // columns * CELL, cell % columns * CELL
        out[:, top : top + CELL, left : left + CELL] = 0
    return out


def padded_center_crop(image: UInt8[Tensor, "3 h w"], size: int) -> UInt8[Tensor, "3 size size"]:
    """Centre crop of an image that black surrounds, as torchvision's CenterCrop; half a pixel is rounded to even."""
    height, width = image.shape[1:]
    short, narrow = max(size - height, 0), max(size - width, 0)
    image = F.pad(image, (narrow // 2, (narrow + 1) // 2, short // 2, (short + 1) // 2))
    top, left = (round((side - size) / 2) for side in image.shape[1:])
    return image[:, top : top + size, left : left + size]


class Safe(nn.Module):
    """Diagonal details, resized to the image's size, and NPR's short ResNet with two outputs; 1.438 M parameters.

    Names of layers are those of the public code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = stage(64, 64, 3, 1), stage(256, 128, 4, 2)
        self.fc1 = nn.Linear(512, 2)
        kaiming_fan_out(self)

    def front(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """What the network sees of images in [0, 1]."""
        size = list(x.shape[-2:])
        return F.interpolate(diagonal_details(x), size, mode="bilinear", align_corners=False, antialias=True)

    def logits(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2"]:
        """Logits of real and of fake."""
        x = self.maxpool(self.bn1(self.conv1(self.front(x))).relu())
        return self.fc1(self.layer2(self.layer1(x)).mean((2, 3)))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Logits of fake: the difference of both outputs, whose sigmoid is the softmax."""
        real, fake = self.logits(x).unbind(1)
        return fake - real


class SafeMethod(WholeImages):
    """`Safe` on crops of images that are not resized."""

    mean: ClassVar[Sequence[float]] = (0.0, 0.0, 0.0)
    std: ClassVar[Sequence[float]] = (1.0, 1.0, 1.0)

    @staticmethod
    def network(settings: Mapping[str, Any]) -> Safe:
        """See `CropMethod.network`."""
        return Safe()

    def training_crops(
        self, table: PixelTable, rows: Int64[Tensor, " b"], generator: torch.Generator
    ) -> UInt8[Tensor, "b 3 s s"]:
        """See `CropMethod.training_crops`; each is also turned, enhanced and, some of them, masked."""
        settings, count = self.settings, len(rows)
        crops = super().training_crops(table, rows, generator)
        draws = torch.rand((count, 6), generator=generator, dtype=torch.float64)
        angles = ((2 * draws[:, 0] - 1) * settings["rotation"]).tolist()
        factors = (1 + (2 * draws[:, 1:4] - 1) * settings["jitter"]).tolist()
        shares = (draws[:, 4] * settings["masked_most"] * (draws[:, 5] < settings["masked"])).tolist()
        orders = [torch.randperm(3, generator=generator).tolist() for _ in range(count)]
        changed = map(distorted, crops, angles, orders, factors)
        return torch.stack([masked(one, share, generator) for one, share in zip(changed, shares, strict=True)])

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Cross-entropy of smoothed labels, which for two outputs is that of their difference."""
        smoothing = self.settings["smoothing"]
        wanted = labels * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(self.logits(self.preprocess(pixels)).float(), wanted)

    def scored_crops(self, table: PixelTable, rows: Int64[Tensor, " b"]) -> UInt8[Tensor, "b 3 s s"]:
        """See `CropMethod.scored_crops`; smaller images are padded with black (public code)."""
        return torch.stack([padded_center_crop(table.image(row), self.crop) for row in rows.tolist()])
