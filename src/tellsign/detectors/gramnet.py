"""GramNet: a ResNet-18 that also sees Gram matrices, which describe texture whatever its place (Liu et al. 2020).

Written from "Global Texture Enhancement for Fake Face Detection in the Wild" (arXiv 2002.00133). Where its public code
decides what the paper leaves open, the place says so. Most published numbers named GramNet are probably those of
another code (AIGCDetectBenchmark), which has one logit and normalised RGB images of 224 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import timm
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.data.opencv import resize_bilinear
from tellsign.data.pixels import PixelTable, augment
from tellsign.detectors.from_imagenet import FromImageNet
from tellsign.networks.determinism import drawn_from

BRANCHES = (
    ("conv_interi_0", "gi_fc1", "gi_fc2", 3),
    ("conv_inter0_0", "g0_fc1", "g0_fc2", 64),
    ("conv_inter1_0", "g_fc1r", "g_fc2r", 64),
    ("conv_inter2_0", "g2_fc1", "g2_fc2", 64),
    ("conv_inter3_0", "g3_fc1", "g3_fc2", 128),
    ("conv_inter4_0", "g4_fc1", "g4_fc2", 256),
)
"""Names of the three layers of each texture branch, in the public code's words, and the channels that come in: of the
image, the first layer, its pooled maps, and ResNet's first three stages."""

TEXTURE, FEATURES = 32, 512
"""Numbers that a branch and the ResNet give."""


def layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3 × 3 convolution without bias, batch normalisation and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def gram(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c c"]:
    """Gram matrices of maps: mean products of channels over all places, not centred, over the number of channels."""
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / (x.shape[1] * x.shape[2] * x.shape[3])


class Scale(nn.Module):
    """The one factor that all texture branches share (public code)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """The product."""
        return x * self.scale


class GramNet(nn.Module):
    """ResNet-18 and six texture branches; 11.735 M parameters. Names of layers are those of the public code."""

    def __init__(self) -> None:
        super().__init__()
        trunk: Any = timm.create_model("resnet18", pretrained=False, num_classes=0, zero_init_last=False)
        for name in ("conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(trunk, name))
        for maps, first, second, channels in BRANCHES:
            self.add_module(maps, layer(channels, TEXTURE))
            self.add_module(first, layer(1, 16, 2))
            self.add_module(second, layer(16, TEXTURE, 2))
        self.scale = Scale()
        joined = FEATURES + len(BRANCHES) * TEXTURE
        self.fcnewr = nn.Sequential(nn.Linear(joined, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 2))

    def stages(self, x: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """What the texture branches see, in their order, and the ResNet's last maps."""
        seen = [x, self.get_submodule("bn1")(self.get_submodule("conv1")(x)).relu()]
        for name in ("maxpool", "layer1", "layer2", "layer3", "layer4"):
            seen.append(self.get_submodule(name)(seen[-1]))
        return seen

    def texture(self, maps: Float[Tensor, "b c h w"], branch: int) -> Float[Tensor, "b 32"]:
        """The numbers of one branch, before the shared factor."""
        first, second, third = (self.get_submodule(name) for name in BRANCHES[branch][:3])
        return third(second(gram(first(maps))[:, None])).mean((2, 3))

    def joined(self, stages: list[Float[Tensor, "b c h2 w2"]]) -> Float[Tensor, "b 704"]:
        """Features of the ResNet and of the branches from what `stages` gave."""
        *seen, last = stages
        textures = [self.scale(self.texture(maps, branch)) for branch, maps in enumerate(seen)]
        return torch.cat([last.mean((2, 3)), *textures], dim=1)

    def logits(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2"]:
        """Logits of fake and real, in this order."""
        return self.fcnewr(self.joined(self.stages(x)))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Logits of fake: the difference of the two, whose sigmoid is the softmax of fake."""
        fake, real = self.logits(x).unbind(1)
        return fake - real


class BlueFirst(nn.Module):
    """Pixels as they are, 0 to 255, in the order blue, green, red (public code)."""

    def forward(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Reverse the channels."""
        return pixels.flip(1).float()


def squashed(image: UInt8[np.ndarray, "h w 3"], shrunk: int, side: int) -> UInt8[np.ndarray, "side side 3"]:
    """An image shrunk to a square, which is then resized to the side that the network sees."""
    return resize_bilinear(resize_bilinear(image, shrunk, shrunk), side, side)


class GramNetMethod(FromImageNet):
    """`GramNet` on whole images that were squashed to a square."""

    own: ClassVar[tuple[str, ...]] = ("conv_inter", "g", "scale.", "fcnewr.")

    @staticmethod
    def network(settings: Mapping[str, Any]) -> GramNet:
        """See `CropMethod.network`."""
        return GramNet()

    @classmethod
    def front(cls, settings: Mapping[str, Any]) -> BlueFirst:
        """See `CropMethod.front`."""
        return BlueFirst()

    def training_crops(
        self, table: PixelTable, rows: Int64[Tensor, " b"], generator: torch.Generator
    ) -> UInt8[Tensor, "b 3 s s"]:
        """See `CropMethod.training_crops`: whole images, each `squashed` by a side drawn uniformly."""
        low, high = self.settings["shrink"]
        sides = torch.randint(low, high + 1, (len(rows),), generator=generator).tolist()
        images = [table.image(row).permute(1, 2, 0).numpy() for row in rows.tolist()]
        done = [squashed(image, side, self.settings["crop"]) for image, side in zip(images, sides, strict=True)]
        pixels = torch.from_numpy(np.stack(done)).permute(0, 3, 1, 2)
        return augment(pixels, generator, flip=self.settings["flip"], rotate=False)

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """See `CropMethod.loss`; its dropout draws too."""
        with drawn_from(generator):
            return super().loss(pixels, labels, generator)
