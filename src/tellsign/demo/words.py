"""The demo's language: the words of scenes' captions and of a photograph's quality, and their numbers.

The lists repeat those of `tellsign.demo.scenes` (a test holds them equal), so that reading a caption needs no
renderer.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from tellsign.errors import UserError, near_miss

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SHAPES = ("circle", "square", "triangle", "ring", "cross", "diamond")
BACKGROUNDS = ("plain", "striped", "checked", "cloudy", "leafy", "dotted")
BACKGROUND_COLOURS = ("gray", "brown", "pink", "cyan", "olive", "sand")
GRAMMAR = ("a", "an", "and", "on", "of", "background", "photo", "above", "below", "left", "right")
QUALITIES = ("clean", "grainy", "blurry", "compressed")

PAD, START, END = 0, 1, 2
VOCABULARY = (
    *("<pad>", "<start>", "<end>"),
    *(*GRAMMAR, *QUALITIES, *COLOURS, *SHAPES, *BACKGROUNDS, *BACKGROUND_COLOURS),
)
NUMBER = {word: i for i, word in enumerate(VOCABULARY)}
LENGTH = 24  # the longest caption of a scene with a word of quality has 22 words


def article(word: str) -> str:
    """The article that goes before a word."""
    return "an" if word[0] in "aeiou" else "a"


def tokenise(texts: list[str]) -> Int64[Tensor, "b 24"]:
    """Numbers of the words between START and END, filled up with PAD; longer texts are cut, as CLIP does.

    Raises:
        UserError: a word is none of the demo's.
    """
    tokens = torch.full((len(texts), LENGTH), PAD)
    for row, text in enumerate(texts):
        words = text.lower().split()[: LENGTH - 2]
        for word in words:
            if word not in NUMBER:
                raise UserError(
                    f"the demo's networks know {len(VOCABULARY) - 3} words; {word!r} of {text!r} is none of "
                    f"them.{near_miss(word, NUMBER)} Take a full-size CLIP and captioner for real captions."
                )
        tokens[row, : len(words) + 2] = torch.tensor([START, *(NUMBER[word] for word in words), END])
    return tokens


def text_of(tokens: list[int]) -> str:
    """Words of numbers up to the first END; PAD and START are silent."""
    known = tokens[: tokens.index(END)] if END in tokens else tokens
    return " ".join(VOCABULARY[token] for token in known if token not in (PAD, START))
