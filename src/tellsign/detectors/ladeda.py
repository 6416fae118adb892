"""LaDeDa, which looks at patches of 9 pixels and averages their logits, and Tiny-LaDeDa, which learns from it.

Written from Cavia et al. (2024), "Real-Time Deepfake Detection in the Real-World" (arXiv 2406.09398). Where its public
code decides what the paper leaves open, the place says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.detectors.checkpoints import load_weights, read_recipe
from tellsign.detectors.on_crops import CropMethod
from tellsign.detectors.protocol import Sample
from tellsign.errors import UserError, choose
from tellsign.networks.bottleneck import Bottleneck, kaiming_fan_out
from tellsign.networks.npr import neighbour_residual

KERNELS = {
    "x_grad": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "y_grad": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "left_diag": [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]],
    "right_diag": [[-2, -1, 0], [-1, 0, 1], [0, 1, 2]],
}
"""Sobel's kernels along rows, columns and both diagonals."""

PATCH, STRIDE = 10, 8
"""Side and distance in pixels of the patches that Tiny-LaDeDa learns from; LaDeDa sees 9 of the 10 (public code)."""


def front(x: Float[Tensor, "b c h w"], name: str) -> Float[Tensor, "b c h w"]:
    """What a network sees instead of normalised images: each channel's neighbouring pixels compared.

    Args:
        x: Normalised images.
        name: ``raw`` for the images themselves, ``npr`` for NPR's residual without its factor, or one of `KERNELS`;
            beyond the border are zeros.
    """
    if name == "raw":
        return x
    if name == "npr":
        return neighbour_residual(x)
    kernel = torch.tensor(choose(KERNELS, name, "front"), dtype=x.dtype, device=x.device)
    return F.conv2d(x, kernel.expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


class PatchNetwork(nn.Module, ABC):
    """A network whose features of a patch have one linear layer ``fc``; an image's logit is the mean of its patches'.

    Args:
        width: Length of the features.
        front: See `front`.
        scale: What the front's output is multiplied with.
    """

    def __init__(self, width: int, front: str, scale: float = 1.0) -> None:
        super().__init__()
        self.front, self.scale = front, scale
        self.fc = nn.Linear(width, 1)
        nn.init.normal_(self.fc.weight, 0.0, 0.02)

    @abstractmethod
    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c rows columns"]:
        """Features of all patches of what `front` gave."""

    def patch_logits(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b rows columns"]:
        """Logits of fake of all patches of normalised images."""
        features = self.features(front(x, self.front) * self.scale)
        return self.fc(features.permute(0, 2, 3, 1))[..., 0]

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Logits of fake of normalised images."""
        return self.fc(self.features(front(x, self.front) * self.scale).mean((2, 3)))[:, 0]


class Ladeda(PatchNetwork):
    """LaDeDa9: a ResNet-50 with few 3 × 3 layers, so that its patches have 9 pixels; 13.642 M parameters.

    No layer is padded. In this it is a BagNet-9 (Brendel & Bethge 2019). Names of layers are those of the public code.
    """

    def __init__(self, front: str = "npr", scale: float = 1.0) -> None:
        super().__init__(2048, front, scale)
        self.conv1 = nn.Conv2d(3, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 64, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64, momentum=0.001)
        inputs, stages = 64, zip((64, 128, 256, 512), (3, 4, 6, 3), (2, 2, 2, 1), (3, 3, 1, 1), strict=True)
        for number, (width, blocks, stride, kernel) in enumerate(stages, start=1):
            first = Bottleneck(inputs, width, stride, kernel, padding=0)
            later = (Bottleneck(4 * width, width, 1, 1, padding=0) for _ in range(blocks - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *later))
            inputs = 4 * width
        kaiming_fan_out(self)

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2048 rows columns"]:
        """See `PatchNetwork.features`."""
        x = self.bn1(self.conv2(self.conv1(x))).relu()
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return x


class TinyBlock(nn.Module):
    """A 1 × 1 and a 3 × 3 layer of 8 channels, the latter with stride 2, without padding and without a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, 2, bias=False), nn.BatchNorm2d(8)

    def forward(self, x: Float[Tensor, "b 8 h w"]) -> Float[Tensor, "b 8 h2 w2"]:
        """Both layers."""
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()


class TinyLadeda(PatchNetwork):
    """Tiny-LaDeDa: 1,297 parameters on a diagonal gradient. Names of layers are those of the public code."""

    def __init__(self, front: str = "right_diag") -> None:
        super().__init__(8, front)
        self.conv1 = nn.Conv2d(3, 8, 1, bias=False)
        self.conv2 = nn.Conv2d(8, 8, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8, momentum=0.001)
        self.layer1 = nn.Sequential(TinyBlock())
        kaiming_fan_out(self)

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 8 rows columns"]:
        """See `PatchNetwork.features`."""
        return self.layer1(self.bn1(self.conv2(self.conv1(x))).relu())


def patches_of(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "n 3 10 10"]:
    """The patches of images that `Ladeda.patch_logits` has logits of, image by image and row by row."""
    windows = x.unfold(2, PATCH, STRIDE).unfold(3, PATCH, STRIDE)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


class LadedaMethod(CropMethod):
    """`Ladeda` on crops."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> Ladeda:
        """See `CropMethod.network`."""
        return Ladeda(settings["front"], settings["front_scale"])


class TinyLadedaMethod(CropMethod):
    """`TinyLadeda` on crops, trained to give each patch the logit that a trained LaDeDa gives it."""

    teacher: Ladeda

    @staticmethod
    def network(settings: Mapping[str, Any]) -> TinyLadeda:
        """See `CropMethod.network`."""
        return TinyLadeda(settings["front"])

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `Method.begin`; ``start`` is the teacher's checkpoint folder.

        Raises:
            UserError: it is another method's.
        """
        method = super().begin(settings, sample, start, device)
        if start is not None:
            recipe = read_recipe(start)
            if recipe["method"] != "ladeda":
                raise UserError(f"the teacher of Tiny-LaDeDa must be a run of method: ladeda, not {recipe['method']}.")
            method.teacher = LadedaMethod.network(recipe)
            load_weights(method.teacher, start / "model.safetensors")
            method.teacher.to(device).eval()
        return method

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Mean squared difference from the teacher's logits, over all patches of the images."""
        x = self.preprocess(pixels)
        with torch.no_grad():
            wanted = self.teacher.patch_logits(x)
        return F.mse_loss(self.model(patches_of(x)).float(), wanted.flatten().float())
