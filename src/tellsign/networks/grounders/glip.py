"""GLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tellsign.networks.grounders.settings import GrounderSettings
from tellsign.schema.fields import Positive
from tellsign.schema.weights import NLTK

if TYPE_CHECKING:
    from tellsign.networks.grounders.grounder import Grounder


class Glip(GrounderSettings):
    """GLIP and its inference.

    Attributes:
        name: ``glip-l`` and ``glip-t`` are the published sizes; ``glip`` reads its size from ``config.json``.
        weights: A name in ``config/weights.yaml`` or a path: the released file, or for ``glip`` a folder with
            config.json, weights.safetensors and tokenizer/.
        tokenizer: A name in ``config/weights.yaml`` or the path of a folder with a BERT tokenizer; ``glip`` has its
            own.
        grammar: What finds the phrases of a caption: ``nltk`` (noun phrases, as GLIP's demo) or ``demo``.
        min_side: The shorter side of the input in pixels.
        max_side: The longer side's limit; null for none, as in GLIP's demo.
        aggregate: A phrase's score from its tokens': ``mean`` or ``max``.
        precision: Arithmetic on a GPU; a CPU always computes in fp32.
    """

    name: Literal["glip-l", "glip-t", "glip"]
    weights: str
    tokenizer: str = "bert-base-uncased"
    grammar: Literal["nltk", "demo"] = "nltk"
    min_side: Positive[int] = 800
    max_side: Positive[int] | None = 1333
    aggregate: Literal["mean", "max"] = "mean"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def beside(self) -> dict[str, tuple[str, str] | None]:
        """A tokenizer, unless its folder holds one, and the data of the grammar."""
        needed: dict[str, tuple[str, str] | None]
        needed = {"tokenizer": None if self.name == "glip" else ("tokenizer", self.tokenizer)}
        return needed | ({"grammar_data": ("nltk", NLTK)} if self.grammar == "nltk" else {})


def glip(settings: Mapping[str, Any], batch_size: int) -> Grounder:
    """GLIP; see `tellsign.networks.glip.grounder.load`."""
    from tellsign.networks.glip.grounder import load

    return load(settings, batch_size)
