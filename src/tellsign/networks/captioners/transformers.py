"""Captioners of Hugging Face's transformers. They share one class of networks, so an edit of one moves all three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.settings import Settings

if TYPE_CHECKING:
    from tellsign.networks.captioners.captioner import Captioner


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


def from_transformers(settings: Mapping[str, Any], batch_size: int) -> Captioner:
    """BLIP-2, BLIP or LLaVA; see `tellsign.networks.vision_language.load`."""
    from tellsign.networks.vision_language import load

    return load(settings, batch_size)
