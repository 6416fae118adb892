"""What a configuration may say of captions, boxes and embeddings."""

from __future__ import annotations

from typing import Annotated, Literal

from tellsign.schema.fields import Fraction, NonNegative, Positive
from tellsign.schema.networks import Network
from tellsign.schema.settings import ByName, Settings


class NoCaptioner(Settings):
    """Whole images only."""

    name: Literal["none"] = "none"


class DemoCaptioner(Settings):
    """The demo's captioner; its weights ship with the package."""

    name: Literal["demo"]
    weights: Literal["shipped"] = "shipped"


class VisionLanguage(Settings):
    """A captioner of Hugging Face's transformers, and how it decodes.

    Attributes:
        name: The family.
        weights: A name in ``config/weights.yaml``, or the path of a folder with a snapshot of the hub.
        beams: Width of the beam search; 1 is greedy. LAVIS's generate for BLIP-2 takes 5.
        max_new_tokens, min_new_tokens: Length of a caption in tokens. LAVIS's are 30 and 0: its min_length of 1
            counts the beginning token, so that it may write empty captions.
        prompt: What stands before the caption. TIDY asks LLaVA "Please generate a one-sentence caption for the
            input image."; BLIP and BLIP-2 caption without a prompt.
        precision: Arithmetic on a GPU; a CPU always computes in fp32.
    """

    name: Literal["blip2", "blip", "llava"]
    weights: str
    beams: Positive[int] = 5
    max_new_tokens: Positive[int] = 30
    min_new_tokens: NonNegative[int] = 0
    prompt: str = ""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"


class NoGrounder(Settings):
    """No objects."""

    name: Literal["none"] = "none"


class DemoGrounder(Settings):
    """The demo's grounder; its weights ship with the package."""

    name: Literal["demo"]
    weights: Literal["shipped"] = "shipped"


class Glip(Settings):
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


CAPTIONER_SETTINGS: dict[str, type[Settings]] = {
    "none": NoCaptioner,
    "demo": DemoCaptioner,
    "blip2": VisionLanguage,
    "blip": VisionLanguage,
    "llava": VisionLanguage,
}


Captioner = Annotated[NoCaptioner | DemoCaptioner | VisionLanguage, ByName("captioner", CAPTIONER_SETTINGS)]


GROUNDER_SETTINGS: dict[str, type[Settings]] = {
    "none": NoGrounder,
    "demo": DemoGrounder,
    "glip-l": Glip,
    "glip-t": Glip,
    "glip": Glip,
}


Grounder = Annotated[NoGrounder | DemoGrounder | Glip, ByName("grounder", GROUNDER_SETTINGS)]


class Annotate(Settings):
    """How TIDY's captions, boxes and embeddings are made.

    Attributes:
        clip: Encoder of images and texts.
        captioner: ``none`` takes whole images only.
        grounder: ``none`` takes whole images and captions only.
        threshold: A box below this score counts as not found.
    """

    clip: Network
    captioner: Captioner = NoCaptioner()
    grounder: Grounder = NoGrounder()
    threshold: Fraction = 0.5
