"""NPR: neighbouring pixel relationships (Tan et al. 2024), a small detector of what upsampling leaves behind.

Written from the paper's description. Its public code tells what the paper leaves out, each named where it stands: the
factor of the residual, the kernel of the first layer, and where the ResNet-50 ends.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn


def neighbour_residual(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """What is left of every pixel after the upper left pixel of its 2 × 2 cell is taken off it.

    This is x - up(down(x)) with nearest-neighbour sampling by ½ and 2: an image that was enlarged twofold that way
    leaves nothing.

    Raises:
        ValueError: a side is odd; its last cell would be half a cell.

    Source:
        NPR (Tan et al. 2024): differences within cells of 2 × 2 pixels, taken from a cell's first pixel.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(f"NPR needs even sides, got {tuple(x.shape[-2:])}: choose an even crop")
    up = x[..., ::2, ::2].repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
    return x - up


class Residual(nn.Module):
    """`neighbour_residual` times 2/3, the factor of the public code; batch normalisation all but cancels it."""

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The residual of normalised images."""
        return neighbour_residual(x) * (2 / 3)


class Bottleneck(nn.Module):
    """A bottleneck block of ResNet-50 (He et al. 2016, Fig. 5 right) with the stride on its 3 × 3 layer.

    Args:
        inputs: Channels that come in.
        width: Channels within; four times as many go out.
        stride: Of the 3 × 3 layer and the shortcut.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        same = inputs == out and stride == 1
        shortcut = nn.Sequential(nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.shortcut = nn.Identity() if same else shortcut

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """Branch plus shortcut."""
        return torch.relu(self.branch(x) + self.shortcut(x))


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(inputs, width, stride)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)))


def network() -> nn.Sequential:
    """The residual and a ResNet-50 that ends after its second stage: 512 features, 1.438 M parameters with one logit.

    The first layer is 3 × 3 with stride 2, not 7 × 7, and training starts from random weights (He et al. 2015, for
    the layers' outputs), as the public code has them.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        residual=Residual(),
        conv1=nn.Conv2d(3, 64, 3, 2, 1, bias=False),
        bn1=nn.BatchNorm2d(64),
        act1=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, 2, 1),
        layer1=_stage(64, 64, 3, 1),
        layer2=_stage(256, 128, 4, 2),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
    )
    net = nn.Sequential(layers)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net
