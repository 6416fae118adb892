"""Draws that masks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tellsign.errors import UserError

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float64, Int64
    from torch import Tensor

Range = tuple[float, float]

ASPECTS = (1e-3, 1e3)
"""Limits of an aspect, height to width."""


def uniform(
    bounds: Range,
    count: int,
    generator: torch.Generator,
    *,
    what: str,
    limits: Range = (0.0, 1.0),
    logarithm: bool = False,
) -> Float64[Tensor, " count"]:
    """Draw ``count`` numbers uniformly, or uniformly in their logarithm, from ``bounds``.

    Raises:
        UserError: the bounds are swapped or beyond ``limits``.
    """
    import torch

    low, high = bounds
    if not limits[0] <= low <= high <= limits[1]:
        raise UserError(
            f"{what} is ({low}, {high}); it must be two numbers, the smaller first, within {limits[0]} and {limits[1]}."
        )
    share = torch.rand(count, generator=generator, dtype=torch.float64)
    return low * (high / low) ** share if logarithm else low + (high - low) * share


def integers(bounds: Int64[Tensor, " count"], generator: torch.Generator) -> Int64[Tensor, " count"]:
    """Draw one integer from 0 to each bound, both ends included."""
    import torch

    return (torch.rand(len(bounds), generator=generator, dtype=torch.float64) * (bounds + 1)).long()
