"""GANDetect: a ResNet-50 that keeps every pixel in its first layers (Gragnaniello et al. 2021).

Written from "Are GAN generated images easy to detect? A critical analysis of the state-of-the-art" (arXiv 2104.02617)
and what its public code does to a picture, which has no training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tellsign.detectors.from_imagenet import FromImageNet
from tellsign.detectors.whole_images import WholeImages
from tellsign.networks.resnet50 import resnet50

LIMIT, TILE = 1536, 1024
"""An image is cut into tiles where both of its sides exceed the limit, in pixels."""


def tiles(image: UInt8[Tensor, "3 h w"], limit: int = LIMIT, side: int = TILE) -> list[UInt8[Tensor, "3 h2 w2"]]:
    """An image as one piece, or in tiles from its top left that do not overlap; the last ones are smaller."""
    if min(image.shape[1:]) <= limit:
        return [image]
    return [tile for rows in image.split(side, dim=1) for tile in rows.split(side, dim=2)]


class GanDetectMethod(WholeImages, FromImageNet):
    """A ResNet-50 without the first two strides, on random crops; whole images are scored."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> nn.Module:
        """See `CropMethod.network`."""
        return resnet50(first_stride=1)

    def logits(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """See `CropMethod.logits`."""
        return self.model(x)[:, 0]

    @torch.no_grad()
    def image_logit(self, image: UInt8[Tensor, "3 h w"], limit: int = LIMIT, side: int = TILE) -> Float[Tensor, ""]:
        """Logit of fake of a whole image: the mean over its tiles, each with the weight of its area."""
        pieces = tiles(image, limit, side)
        logits = [self.logits(self.preprocess(piece[None].to(self.device)))[0].double().cpu() for piece in pieces]
        areas = torch.tensor([float(piece[0].numel()) for piece in pieces], dtype=torch.float64)
        return (torch.stack(logits) * areas).sum() / areas.sum()
