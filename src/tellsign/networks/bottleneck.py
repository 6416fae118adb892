"""Bottleneck blocks of ResNet-50 under the names that published files give their tensors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """A bottleneck block (He et al. 2016, Fig. 5 right) with the stride on its middle layer.

    Where the middle layer is not padded, its output is smaller than the shortcut's; the shortcut then loses its last
    rows and columns, so that both start at the same corner (Brendel & Bethge 2019).

    Args:
        inputs: Channels that come in.
        width: Channels within; four times as many go out.
        stride: Of the middle layer and the shortcut.
        kernel: Side of the middle layer's kernel.
        padding: Of the middle layer.
    """

    def __init__(self, inputs: int, width: int, stride: int, kernel: int = 3, padding: int = 1) -> None:
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, kernel, stride, padding, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        shortcut = [nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out)]
        self.downsample = nn.Sequential(*([] if inputs == out and stride == 1 else shortcut))

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """Branch plus shortcut."""
        branch = torch.relu(self.bn1(self.conv1(x)))
        branch = torch.relu(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        shortcut = self.downsample(x)
        return torch.relu(branch + shortcut[..., : branch.shape[-2], : branch.shape[-1]])


def stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks of one width with 3 × 3 layers; the first has the stride."""
    later = (Bottleneck(4 * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(inputs, width, stride), *later)


def kaiming_fan_out(module: nn.Module) -> None:
    """Start the convolutions within a module from normal weights scaled for their outputs (He et al. 2015)."""
    for one in module.modules():
        if isinstance(one, nn.Conv2d):
            nn.init.kaiming_normal_(one.weight, mode="fan_out", nonlinearity="relu")
