"""ResNet-50 with one logit, as detectors since CNNDet start it."""

from __future__ import annotations

from typing import Any

from torch import nn


def resnet50(first_stride: int = 2) -> Any:
    """A ResNet-50 (He et al. 2016) of timm with one output; names of tensors are also torchvision's.

    The last layer's weights are drawn from N(0, 0.02²), as in CNNDet's public code.

    Args:
        first_stride: Of its first layer and of the pooling after it: 2, or 1 to look at every pixel.
    """
    import timm

    network: Any = timm.create_model("resnet50", pretrained=False, num_classes=1, zero_init_last=False)
    network.conv1.stride = (first_stride, first_stride)
    network.maxpool.stride = first_stride
    nn.init.normal_(network.fc.weight, 0.0, 0.02)
    return network
