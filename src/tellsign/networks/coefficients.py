"""Frank et al.'s networks on cosine coefficients, under the names that Keras gives their layers.

Each is a list of layers by name, of which the last gives logits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Layers = OrderedDict[str, nn.Module]


def numbered(name: str, number: int) -> str:
    """A layer's name in the order of making: the first has no number."""
    return f"{name}_{number}" if number else name


class RowsColumnsChannels(nn.Module):
    """Maps to one row of numbers, channels last, as Keras counts them."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Flatten."""
        return x.permute(0, 2, 3, 1).flatten(1)


def ridge(side: int, outputs: int) -> Layers:
    """One linear layer: with a penalty on its weights, logistic regression."""
    return Layers(flat=RowsColumnsChannels(), dense=nn.Linear(3 * side * side, outputs))


def cnn(side: int, outputs: int) -> Layers:
    """Four convolutions and a linear layer."""
    layers = Layers()
    for number, (inputs, width) in enumerate(((3, 3), (3, 8), (8, 16), (16, 32))):
        layers[numbered("conv2d", number)] = nn.Conv2d(inputs, width, 3, padding=1)
        layers[f"relu_{number}"] = nn.ReLU()
        if number in (1, 2):
            layers[f"pool_{number}"] = nn.AvgPool2d(2)
    return layers | Layers(flat=RowsColumnsChannels(), dense=nn.Linear(32 * (side // 4) ** 2, outputs))


def perceptron(side: int, outputs: int) -> Layers:
    """One hidden layer."""
    hidden = Layers(flat=RowsColumnsChannels(), dense=nn.Linear(3 * side * side, 128), relu=nn.ReLU())
    return hidden | Layers(dense_1=nn.Linear(128, outputs))


class Residual(nn.Module):
    """Ten residual blocks of width 64 between convolutions, and two linear layers (public code; not in the paper).

    Args:
        outputs: Number of logits.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        for number in range(23):
            inside = 2 <= number < 22
            inputs, width = ((3, 32), (32, 64))[number] if number < 2 else (64, 64)
            self.add_module(numbered("conv2d", number), nn.Conv2d(inputs, width, 3, padding=int(inside)))
        for number in range(20):
            self.add_module(numbered("batch_normalization", number), nn.BatchNorm2d(64, eps=1e-3))
        self.dense, self.dense_1 = nn.Linear(64, 256), nn.Linear(256, outputs)

    def layer(self, x: Float[Tensor, "b c h w"], name: str, number: int) -> Float[Tensor, "b d h2 w2"]:
        """The layer of a kind and a number."""
        return self.get_submodule(numbered(name, number))(x)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Logits."""
        x = self.layer(self.layer(x, "conv2d", 0).relu(), "conv2d", 1).relu()
        x = F.max_pool2d(x, 3)
        for block in range(0, 20, 2):
            branch = self.layer(self.layer(x, "conv2d", block + 2).relu(), "batch_normalization", block)
            branch = self.layer(self.layer(branch, "conv2d", block + 3), "batch_normalization", block + 1)
            x = (x + branch).relu()
        x = self.layer(x, "conv2d", 22).relu().mean((2, 3))
        return self.dense_1(F.dropout(self.dense(x).relu(), 0.5, self.training))


def residual(side: int, outputs: int) -> Layers:
    """`Residual`, which takes images of any side from 13 pixels on."""
    return Layers(residual=Residual(outputs))


CLASSIFIERS: dict[str, Callable[[int, int], Layers]] = {
    "ridge": ridge,
    "cnn": cnn,
    "nn": perceptron,
    "resnet": residual,
}
"""By the public code's names: side of the images and number of outputs to layers."""
