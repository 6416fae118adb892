"""The two variants of Frank et al.'s perturbations, and the coin before each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from numpy.random import Generator

from tellsign.data.perturbations.filters import Pixels
from tellsign.errors import UserError, choose

Variants = Mapping[str, Callable[[Pixels, Generator], Pixels]]
"""``text`` and ``frank_code`` → what is done to an image."""


def perturb(
    name: str, variants: Variants, image: Pixels, generator: Generator, *, variant: str, probability: float
) -> Pixels:
    """Apply one variant of a perturbation with a probability.

    Args:
        name: The perturbation, for messages.
        variants: Its variants.
        image: RGB image.
        generator: Draws the coin, then what the variant draws.
        variant: ``text`` or ``frank_code``; see `tellsign.data.perturbations`.
        probability: Chance that the image is perturbed. Frank et al. use 0.5; MPFT and LoL name none.

    Raises:
        UserError: unknown variant, or a probability outside [0, 1].
    """
    apply = choose(variants, variant, f"variant of perturbation {name!r}")
    if not 0 <= probability <= 1:
        raise UserError(f"probability of perturbation {name!r} is {probability}; it must be from 0 to 1.")
    return apply(image, generator) if generator.random() < probability else image
