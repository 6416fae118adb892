"""What a backbone and a CLIP are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tellsign.errors import UserError


class Standardise(nn.Module):
    """Pixels / 255, minus a mean, over a standard deviation, per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Normalise."""
        return (pixels.to(self.mean.dtype) / 255 - self.mean) / self.std


class Backbone(nn.Module):
    """A network with its preprocessing: ``forward(preprocess(pixels))`` are the features.

    Args:
        net: Input tensor to features.
        front: Pixels to input tensor; without trainable parts and stored tensors.
        dim: Length of a feature vector.
        size: Side in pixels of the square crop that the network needs; None when any size will do.
        map_layer: Name within ``net`` of the layer whose output is the last spatial map. A layer of a
            transformer gives tokens, class token first; it must be one that the class token still reads,
            hence not the last block's output but its first norm (as in pytorch-grad-cam's advice for vision
            transformers). None where nobody knows it: then there are features and no map.
        channels_last: That layer's output is (batch, height, width, channels), as Swin's.
        classifiers: Prefixes within ``net`` of the classifier's tensors, which published files hold and features do
            without.
    """

    def __init__(
        self,
        net: nn.Module,
        front: nn.Module,
        *,
        dim: int,
        size: int | None,
        map_layer: str | None,
        channels_last: bool = False,
        classifiers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.channels_last, self.classifiers = channels_last, tuple(classifiers)
        self.net, self.front = net, front
        self.dim, self.size, self.map_layer = dim, size, map_layer

    def preprocess(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise pixels (RGB, 0 to 255). What comes out is what the network sees and what masks multiply.

        Raises:
            ValueError: the crop has another size than the network needs.
        """
        if self.size is not None and pixels.shape[-2:] != (self.size, self.size):
            raise ValueError(f"crops of {self.size} × {self.size} pixels are needed, not {tuple(pixels.shape[-2:])}")
        return self.front(pixels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Features of preprocessed images."""
        return self.net(x)

    def with_map(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b k h2 w2"]]:
        """Features and the last spatial map, which lies on the features' way: gradients of what is computed
        from the features reach it (Grad-CAM; Selvaraju et al. 2017).

        Raises:
            UserError: the network has no map, or none that is known.
        """
        if self.map_layer is None:
            raise UserError(
                "this backbone has no spatial map whose place is known, so that no heat map can be drawn of it. Take "
                "a convolutional network, or a vision transformer with a class token."
            )
        maps: list[Tensor] = []

        def hold(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if output.ndim == 4:
                maps.append(output.permute(0, 3, 1, 2) if self.channels_last else output)
                return maps[0].permute(0, 2, 3, 1) if self.channels_last else output
            first, patches = output[:, :1], output[:, 1:]
            side = round(patches.shape[1] ** 0.5)
            maps.append(patches.transpose(1, 2).unflatten(2, (side, side)))
            return torch.cat([first, maps[0].flatten(2).transpose(1, 2)], dim=1)

        handle = self.net.get_submodule(self.map_layer).register_forward_hook(hold)
        try:
            features = self(x)
        finally:
            handle.remove()
        return features, maps[0]

    def feature_map(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h2 w2"]:
        """The last spatial map alone."""
        return self.with_map(x)[1]


class Clip(nn.Module):
    """An image tower and a text tower whose features share a space. Features are not normalised.

    Args:
        image: The image tower.
        text: The text tower.
        encode: Text tower and texts to features.
    """

    def __init__(
        self,
        image: Backbone,
        text: nn.Module,
        encode: Callable[[nn.Module, list[str]], Float[Tensor, "b d"]],
    ) -> None:
        super().__init__()
        self.image, self.text, self._encode = image, text, encode

    def encode_text(self, texts: list[str]) -> Float[Tensor, "b d"]:
        """Features of texts, on the device of the text tower."""
        return self._encode(self.text, texts)
