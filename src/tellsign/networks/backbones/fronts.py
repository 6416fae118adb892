"""What an encoder sees instead of its network's own normalisation, by the name that ``backbone.front`` gives.

A front is preprocessing: it has no parameters, masks act on what it gives, and Grad-CAM's maps lie on it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn


def mean_of_nine(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The 3×3 mean around every pixel, edges mirrored; row sums first: a fifth of the time of pooling on a CPU."""
    x = F.pad(x, (1, 1, 1, 1), mode="reflect")
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def unit_residual(x: Float[Tensor, "b c h w"], floor: float) -> Float[Tensor, "b c h w"]:
    """What a 3×3 mean does not explain, over its root mean square per image.

    Args:
        x: Images in [-1, 1].
        floor: Added to the RMS of 8 × the residual, lest flat images become noise.
    """
    high = 8 * (x - mean_of_nine(x))
    return high / (high.square().mean((1, 2, 3), keepdim=True).sqrt() + floor)


class HighPass(nn.Module):
    """The unit residual alone, in the memory layout that suits separable convolutions on a CPU."""

    def forward(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Preprocess."""
        return unit_residual(pixels.float() / 127.5 - 1, 0.02).contiguous(memory_format=torch.channels_last)


class StandardisedCrop(nn.Module):
    """Each crop minus its own mean over its own standard deviation, over all channels and pixels together."""

    def forward(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Preprocess; 0.02 is added to the deviation of pixels in [-1, 1], lest flat crops become noise."""
        x = pixels.float() / 127.5 - 1
        x = x - x.mean((1, 2, 3), keepdim=True)
        return x / (x.square().mean((1, 2, 3), keepdim=True).sqrt() + 0.02)


FRONTS: dict[str, type[nn.Module]] = {"high_pass": HighPass, "standardised": StandardisedCrop}
