"""StyleGAN's discriminator (Karras et al. 2019); names of tensors are those of its PyTorch port by genforce."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SLOPE = 0.2
FUSED = 128
"""Layers that halve maps of this side or more do so within their convolution, others by a mean after it."""
MOST = 512
"""Channels of maps of 32 pixels and fewer; larger ones have 16,384 over their side."""


class Blur(nn.Module):
    """A binomial filter of 3 × 3 pixels on each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(line, line).expand(channels, 1, 3, 3).clone())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The blurred maps."""
        return F.conv2d(x, self.get_buffer("kernel"), padding=1, groups=x.shape[1])


class Layer(nn.Module):
    """Weights from N(0, 1), scaled where they are used so that all learn at one rate (Karras et al. 2018, §4.1).

    Args:
        shape: Of the weights.
        gain: Of the scale, over the root of the inputs of an output.
        blur: Whether a filter comes before it.
    """

    def __init__(self, *shape: int, gain: float = math.sqrt(2), blur: bool = False) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.zeros(shape[0]))
        self.scale = gain / math.sqrt(math.prod(shape[1:]))
        if blur:
            self.blur = Blur(shape[1])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """A convolution of the same size."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.weight.shape[-1] // 2)

    def dense(self, x: Float[Tensor, "b c"]) -> Float[Tensor, "b d"]:
        """A linear layer."""
        return F.linear(x, self.weight * self.scale, self.bias)

    def halved(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Blurred, convolved and averaged over 2 × 2 pixels."""
        side, x = x.shape[-1], self.blur(x)
        if side < FUSED:
            return F.avg_pool2d(self(x), 2)
        padded = F.pad(self.weight * self.scale, [1] * 4)
        four = (padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]) / 4
        return F.conv2d(x, four, self.bias, stride=2, padding=1)


def spread(x: Float[Tensor, "b c h w"], group: int) -> Float[Tensor, "b 1 h w"]:
    """How far images of a group differ, averaged over their maps; images that are apart by b / group are a group.

    An image that is a group by itself has the root of 1e-8.

    Source: Karras et al. (2018), §3, with the epsilon and the groups of StyleGAN's code.
    """
    groups = x.unflatten(0, (group, -1))
    deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)
    return deviation.repeat(group, 1, *x.shape[-2:])


class Discriminator(nn.Module):
    """StyleGAN's discriminator, grown to its full size.

    Args:
        side: Of its images: a power of two, at least 8.
    """

    def __init__(self, side: int = 256) -> None:
        super().__init__()
        self.register_buffer("lod", torch.zeros(()))  # the stage of its growth; files hold 0, its end
        sides = [side // 2**power for power in range(int(math.log2(side)) - 1)]
        widths = [min(16384 // one, MOST) for one in sides]
        for number, width in enumerate(widths):
            self.add_module(f"input{number}", Layer(width, 3, 1, 1))  # those after the first served its growth
        for number, (width, wider) in enumerate(itertools.pairwise(widths)):
            self.add_module(f"layer{2 * number}", Layer(width, width, 3, 3))
            self.add_module(f"layer{2 * number + 1}", Layer(wider, width, 3, 3, blur=True))
        self.halvings = len(sides) - 1
        self.add_module(f"layer{2 * self.halvings}", Layer(MOST, MOST + 1, 3, 3))
        self.add_module(f"layer{2 * self.halvings + 1}", Layer(MOST, MOST * 16))
        self.add_module(f"layer{2 * self.halvings + 2}", Layer(1, MOST, gain=1.0))

    def layer(self, name: str) -> Layer:
        """A layer by its name."""
        layer = self.get_submodule(name)
        assert isinstance(layer, Layer)
        return layer

    def forward(self, x: Float[Tensor, "b 3 s s"], group: int = 1) -> Float[Tensor, " b"]:
        """Outputs for images in [-1, 1]: high for photographs.

        Args:
            x: The images.
            group: How many of them are compared with one another; 1 for each by itself.
        """
        x = F.leaky_relu(self.layer("input0")(x), SLOPE)
        for number in range(self.halvings):
            x = F.leaky_relu(self.layer(f"layer{2 * number}")(x), SLOPE)
            x = F.leaky_relu(self.layer(f"layer{2 * number + 1}").halved(x), SLOPE)
        last = 2 * self.halvings
        x = F.leaky_relu(self.layer(f"layer{last}")(torch.cat([x, spread(x, group)], dim=1)), SLOPE)
        x = F.leaky_relu(self.layer(f"layer{last + 1}").dense(x.flatten(1)), SLOPE)
        return self.layer(f"layer{last + 2}").dense(x)[:, 0]
