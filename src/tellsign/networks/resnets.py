"""torchvision's ResNets as detectors, under the names that published files give their tensors."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn


class LogitOfFake(nn.Module):
    """One output as it is; of two, of which the first is fake, their difference, whose sigmoid is the softmax."""

    def forward(self, outputs: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
        """Logits of fake."""
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 0] - outputs[:, 1]


def resnet(name: str, outputs: int) -> nn.Sequential:
    """A ResNet (He et al. 2016) with random weights, layer by layer; the last one gives logits of fake.

    Args:
        name: As timm calls it.
        outputs: One, or two of which the first is fake.
    """
    trunk: Any = timm.create_model(name, pretrained=False, num_classes=outputs, zero_init_last=False)
    return nn.Sequential(OrderedDict([*trunk.named_children(), ("fake", LogitOfFake())]))
