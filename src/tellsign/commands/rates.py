"""What networks do in a second and how large they are: ``config/rates.yaml``, with its sources."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tellsign.schema.fields import Named, Positive
from tellsign.schema.loading import build
from tellsign.schema.settings import Settings
from tellsign.schema.strict_yaml import read_yaml

RATES = Path("config/rates.yaml")
"""Where they are, relative to the top folder of the working tree."""


class Rate(Settings):
    """Images per second of one network; null where nobody has measured.

    Attributes:
        side: Side of the images in pixels, null where images are taken as they are.
        train: Forward, backward and step.
        score: Forward alone; of a captioner or grounder, what it does to an image.
        basis: ``measured`` by benchmarks/rates.py, ``published`` by others, or ``estimated`` from either.
        source: Where it comes from.
    """

    basis: Literal["measured", "published", "estimated"]
    source: str
    side: Positive[int] | None = None
    train: Positive[float] | None = None
    score: Positive[float] | None = None


class Machine(Settings):
    """A machine and what each network does on it."""

    what: str
    rates: Named[Rate]


class Size(Settings):
    """Size of a network: its parameters and the width of its features."""

    parameters: Positive[int]
    dim: Positive[int]


class ImageSize(Settings):
    """Pixels of a benchmark's average image, in millions."""

    megapixels: Positive[float]
    source: str = ""


class Rates(Settings):
    """All of ``config/rates.yaml``.

    Attributes:
        machines: By name; the first that knows a network of the configuration is the one that hours are given for.
        networks: Sizes of the backbones.
        pictures: BENCHMARK or BENCHMARK/PART → average image, for sets that have not been indexed.
        score_bytes: Bytes on disk of one score.
    """

    machines: Named[Machine]
    networks: Named[Size]
    pictures: Named[ImageSize]
    score_bytes: Positive[float]


def read_rates(path: Path) -> Rates:
    """Read the file strictly.

    Raises:
        UserError: names what is wrong with it.
    """
    return build(Rates, read_yaml(path), path.name)
