"""Images in bands of their frequencies, and statistics of such bands in small windows (F3-Net's two front ends).

Written from Qian et al. (2020, arXiv 2007.09355), which leaves open how bands are cut. The two public codes differ:
yyk-wew/F3Net cuts them by shares of the area, borders included, GenImage's code by shares of the side, lower
borders excluded. Names of tensors are those of both.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WINDOW, STRIDE, PADDING = 10, 2, 4
"""Side, distance and margin of the windows, in pixels."""


def transform(n: int) -> Float[Tensor, "n n"]:
    """The orthonormal matrix of the discrete cosine transform (DCT-II), lowest frequency first."""
    frequency, place = np.arange(n)[:, None], np.arange(n)
    matrix = np.sqrt(2 / n) * np.cos(np.pi * frequency * (place + 0.5) / n)
    matrix[0] = np.sqrt(1 / n)
    return torch.from_numpy(matrix.astype(np.float32))


def signed(x: Tensor) -> Tensor:
    """A number between -1 and 1 from a learnt one."""
    return 2 * x.sigmoid() - 1


class Band(nn.Module):
    """A band of frequencies: which coefficients of a cosine transform count, learnt around a fixed choice.

    Args:
        side: Of the transform.
        low, high: The choice is the coefficients whose row and column add up to a number from low to high.
        closed: Whether it includes low.
        scaled: Divide by the number of coefficients.
    """

    base: Tensor

    def __init__(self, side: int, low: float, high: float, *, closed: bool, scaled: bool = False) -> None:
        super().__init__()
        diagonal = torch.arange(side)[:, None] + torch.arange(side)
        chosen = (diagonal <= high) & ((diagonal >= low) if closed else (diagonal > low))
        self.register_buffer("base", chosen.float())
        self.learnable = nn.Parameter(0.1 * torch.randn(side, side))
        if scaled:
            self.register_buffer("ft_num", self.base.sum())

    def forward(self, coefficients: Float[Tensor, "... n n"]) -> Float[Tensor, "... n n"]:
        """The weighted coefficients."""
        x = coefficients * (self.base + signed(self.learnable))
        return x / self.get_buffer("ft_num") if "ft_num" in self._buffers else x


class ImageBands(nn.Module):
    """The image in low, middle and high frequencies and in all of them, one after another (FAD; paper, §3.1).

    The paper's low band is the first sixteenth of the spectrum, its middle band the next. In yyk-wew/F3Net these are
    shares of the area and the bands share their borders; in GenImage's code they are shares of the side, the mean is in
    no band, and the high band ends in the middle of the spectrum.
    """

    def __init__(self, side: int, *, areas: bool) -> None:
        super().__init__()
        self.register_buffer("_DCT_all", transform(side))
        self.register_buffer("_DCT_all_T", transform(side).T.contiguous())
        first, second, third = (side // 2.82, side // 2, 2 * side) if areas else (side // 16, side // 8, side)
        borders = ((0, first), (first, second), (second, third), (0, 2 * side))
        self.filters = nn.ModuleList(Band(side, low, high, closed=areas) for low, high in borders)

    def forward(self, x: Float[Tensor, "b 3 n n"]) -> Float[Tensor, "b 12 n n"]:
        """The bands of images in [-1, 1]."""
        matrix, transposed = self.get_buffer("_DCT_all"), self.get_buffer("_DCT_all_T")
        spectrum = matrix @ x @ transposed
        return torch.cat([transposed @ band(spectrum) @ matrix for band in self.filters], dim=1)


class WindowStatistics(nn.Module):
    """For each window the mean logarithm of the magnitudes in six bands of its frequencies (LFS; paper, §3.2).

    The paper takes the logarithm of a band's sum; both codes sum logarithms, of grey values scaled by 122.5 (sic).
    """

    def __init__(self, *, closed: bool) -> None:
        super().__init__()
        self.register_buffer("_DCT_patch", transform(WINDOW))
        self.register_buffer("_DCT_patch_T", transform(WINDOW).T.contiguous())
        borders = [2 * WINDOW / 6 * number for number in range(7)]
        pairs = itertools.pairwise(borders)
        self.filters = nn.ModuleList(Band(WINDOW, low, high, closed=closed, scaled=True) for low, high in pairs)

    def forward(self, x: Float[Tensor, "b 3 n n"]) -> Float[Tensor, "b 6 m m"]:
        """Statistics of images in [-1, 1]."""
        grey = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
        scaled = F.pad((grey + 1) * 122.5, [PADDING] * 4)
        windows = scaled.unfold(1, WINDOW, STRIDE).unfold(2, WINDOW, STRIDE).contiguous()
        coefficients = self.get_buffer("_DCT_patch") @ windows @ self.get_buffer("_DCT_patch_T")
        magnitudes = (coefficients.abs() + 1e-15).log10()
        return torch.stack([band(magnitudes).sum((-2, -1)) for band in self.filters], dim=1)
