"""One level of the discrete wavelet transform of images with the biorthogonal wavelet 1.3, diagonal details alone."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def mirrored(start: int, stop: int, n: int) -> Int64[Tensor, " count"]:
    """Places of a line of n pixels from start to stop, which goes on in its mirror image beyond both ends."""
    place = torch.arange(start, stop) % (2 * n)
    return torch.minimum(place, 2 * n - 1 - place)


def diagonal_details(x: Float[Tensor, "... h w"]) -> Float[Tensor, "... h2 w2"]:
    """High frequencies along both axes (HH) at every other place; a side of n pixels gives (n + 5) // 2.

    The wavelet's high-pass filter is the difference of two neighbours over √2; its low-pass filter has six taps, which
    decide where the transform starts and ends: two pixels beyond the border.

    Source: Cohen, Daubechies & Feauveau (1992); the start as in PyWavelets with mode ``symmetric``.
    """
    for axis in (-2, -1):
        n = x.shape[axis]
        line = x.index_select(axis, mirrored(-2, 2 * ((n + 5) // 2) - 2, n).to(x.device))
        first, second = line.unflatten(axis, (-1, 2)).unbind(axis if axis == -1 else -2)
        x = (first - second) * 0.5**0.5
    return x
