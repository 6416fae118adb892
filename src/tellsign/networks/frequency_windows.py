"""Windows of an image by how much of high frequencies they hold (AIDE's choice).

Written from Yan et al. (2025, arXiv 2406.19435); what the paper leaves open is as in its public code.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tellsign.errors import UserError
from tellsign.networks.cosine_bands import transform

WINDOW, STRIDE, BANDS = 32, 16, 6


def windows(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "n 3 32 32"]:
    """Windows row by row; what is left at the right and below is not looked at.

    Raises:
        UserError: the image is smaller than a window.
    """
    if min(image.shape[1:]) < WINDOW:
        height, width = image.shape[1:]
        raise UserError(
            f"an image has {height} x {width} pixels; AIDE needs {WINDOW} both ways. Leave it out of the split."
        )
    cut = image.unfold(1, WINDOW, STRIDE).unfold(2, WINDOW, STRIDE)
    return cut.permute(1, 2, 0, 3, 4).flatten(0, 1)


def band_weights() -> Float[Tensor, "6 32 32"]:
    """Weights of each band's coefficients, whose row and column add up to it, ends included; their sum is 1."""
    diagonal = torch.arange(WINDOW)[:, None] + torch.arange(WINDOW)
    ends = torch.arange(BANDS + 1, dtype=torch.float64) * (2 * WINDOW / BANDS)
    bands = (diagonal >= ends[:-1, None, None]) & (diagonal <= ends[1:, None, None])
    return bands.float() / bands.sum((1, 2), keepdim=True)


def graded(cut: Float[Tensor, "n 3 32 32"]) -> tuple[Float[Tensor, "n 3 32 32"], Float[Tensor, " n"]]:
    """Each window's cosine transform, and its grade: logarithms of coefficients, a band worth twice the one below."""
    matrix = transform(WINDOW).to(cut)
    spectra = matrix @ cut @ matrix.T
    sums = torch.einsum("ncij,kij->nk", (spectra.abs() + 1).log(), band_weights().to(cut))
    return spectra, sums @ (2.0 ** torch.arange(BANDS, device=cut.device))


def chosen(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "4 3 32 32"]:
    """The windows of the lowest, highest, second lowest and second highest grade, out of their transforms again.

    One window stands for all four where there are no more.
    """
    spectra, grades = graded(windows(image))
    order = grades.argsort(stable=True)
    second = min(1, len(order) - 1)
    picked = spectra[torch.stack([order[0], order[-1], order[second], order[-1 - second]])]
    matrix = transform(WINDOW).to(image)
    return matrix.T @ picked @ matrix
