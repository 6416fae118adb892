"""The thirty fixed high-pass filters of steganalysis (spatial rich model, Fridrich and Kodovský 2012)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SIDE = 5
_DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Steps down and right, row by row around the centre."""
_BY_TURNS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""The same once around."""
_SQUARE_3 = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]])
_SQUARE_5 = np.array(
    [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
)


def along(direction: tuple[int, int], taps: dict[int, int]) -> Float[np.ndarray, "5 5"]:
    """Taps on a line through the centre.

    Args:
        direction: Step down and right.
        taps: Steps from the centre to values.
    """
    kernel = np.zeros((SIDE, SIDE))
    for steps, value in taps.items():
        kernel[SIDE // 2 + steps * direction[0], SIDE // 2 + steps * direction[1]] = value
    return kernel


def halves(square: Float[np.ndarray, "n n"]) -> Iterator[Float[np.ndarray, "5 5"]]:
    """The upper, right, lower and left half of a square, its middle line included, padded to the common side."""
    whole = np.pad(square, (SIDE - len(square)) // 2)
    upper, left = whole.copy(), whole.copy()
    upper[SIDE // 2 + 1 :], left[:, SIDE // 2 + 1 :] = 0, 0
    yield from (upper, left[:, ::-1], upper[::-1], left)


def noise_filters() -> Float[Tensor, "30 5 5"]:
    """The filters, each divided by its centre's size: first to third order by direction, edges, squares."""
    first = [along(d, {0: -1, 1: 1}) for d in _DIRECTIONS]
    second = [along(d, {-1: 1, 0: -2, 1: 1}) / 2 for d in _DIRECTIONS[:4]]
    third = [along(d, {-1: 1, 0: -3, 1: 3, 2: -1}) / 3 for d in _BY_TURNS]
    edges = [half / 4 for half in halves(_SQUARE_3)] + [half / 12 for half in halves(_SQUARE_5)]
    squares = [np.pad(_SQUARE_3, 1) / 4, _SQUARE_5 / 12]
    return torch.from_numpy(np.stack([*first, *second, *third, *edges, *squares])).float()
