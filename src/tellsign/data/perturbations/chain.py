"""Frank et al.'s perturbations one after the other, each with a probability of its own."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.random import Generator

from tellsign.data.perturbations.combined import FOUR
from tellsign.data.perturbations.filters import Pixels
from tellsign.data.perturbations.variants import perturb
from tellsign.errors import choose


def chain(image: Pixels, generator: Generator, *, steps: Mapping[str, float], variant: str = "text") -> Pixels:
    """Those of the four that ``steps`` names, in the papers' order, each with its own coin.

    Args:
        image: RGB image.
        generator: Draws each coin, and after it what the perturbation draws.
        steps: Name of one of the four (``noise``, ``blur``, ``jpeg``, ``crop``) → the chance that an image gets it.
        variant: ``text`` or ``frank_code``, of every step; see `tellsign.data.perturbations`.

    Raises:
        UserError: an unknown step or variant, or a probability outside [0, 1].

    Source:
        MPFT §5.4 and LoL Appendix A.3 name the four in a row; RINE's public code gives each a coin.
    """
    for name in steps:
        choose(FOUR, name, "step of perturbation 'chain'")
    for name, variants in FOUR.items():  # not in the order of ``steps``: settings are sorted on their way
        if name in steps:
            image = perturb(name, variants, image, generator, variant=variant, probability=steps[name])
    return image
