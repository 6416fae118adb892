"""NPR: neighbouring pixel relationships (Tan et al. 2024), a small detector of what upsampling leaves behind.

Written from the paper's description. Its public code tells what the paper leaves out, each named where it stands: the
factor of the residual, the kernel of the first layer, and where the ResNet-50 ends.
"""

from __future__ import annotations

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from tellsign.networks.bottleneck import kaiming_fan_out, stage


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
        layer1=stage(64, 64, 3, 1),
        layer2=stage(256, 128, 4, 2),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
    )
    net = nn.Sequential(layers)
    kaiming_fan_out(net)
    return net
