"""From a caption to its phrases, and from phrases to the tokens that stand for them.

Follows ``maskrcnn_benchmark/engine/predictor_glip.py`` and ``engine/inference.py`` of microsoft/GLIP at commit
9dda955; the phrases are those of its demo.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing

from tellsign.errors import UserError
from tellsign.networks.hub import NLTK_COMMAND, NLTK_PACKAGES

Span = tuple[int, int]  # first character, and the one after the last

DROPPED = str.maketrans("", "", "|:;@()[]{}^'\"’`?$%#!&*+,.")
NOUN_PHRASE = re.compile("D?J*N+")


def noun_phrases(tagged: Sequence[tuple[str, str]]) -> list[str]:
    """Phrases of tagged words: a determiner or none, any adjectives, one noun or more.

    Words of a phrase are joined by spaces, punctuation is removed, and what is then empty is dropped.

    Args:
        tagged: Words with their tags of the Penn Treebank: DT, JJ, JJR, JJS, NN…
    """

    def kind(tag: str) -> str:
        return "D" if tag == "DT" else {"JJ": "J", "NN": "N"}.get(tag[:2], " ")

    kinds = "".join(kind(tag) for _, tag in tagged)
    tagged_phrases = (tagged[slice(*match.span())] for match in NOUN_PHRASE.finditer(kinds))
    cleaned = (" ".join(word for word, _ in phrase).translate(DROPPED).strip() for phrase in tagged_phrases)
    return [phrase for phrase in cleaned if phrase]


def phrases_of(caption: str) -> list[str]:
    """The noun phrases of a caption, lower case, in order, each once.

    NLTK (Bird et al. 2009) cuts the caption into words and tags them.

    Raises:
        UserError: NLTK's data is not installed.
    """
    import nltk

    try:
        tagged = nltk.pos_tag(nltk.word_tokenize(caption.lower()))
    except LookupError as error:
        raise UserError(
            f"phrases of captions need NLTK's data packages {' and '.join(NLTK_PACKAGES)}, and one is missing. "
            f"Get them by: {NLTK_COMMAND} (add -d FOLDER and set NLTK_DATA=FOLDER to keep them elsewhere; on a machine "
            "without network, copy that folder)."
        ) from error
    return list(dict.fromkeys(noun_phrases(tagged)))


def occurrences(phrase: str, caption: str) -> list[Span]:
    """Where a phrase stands in a caption, both in lower case, within longer words too; overlaps count once."""
    return [match.span() for match in re.finditer(re.escape(phrase.lower()), caption.lower())] if phrase else []


def demo_caption(names: Sequence[str]) -> tuple[str, list[Span]]:
    """The released demo's caption for a list of names, and where each is: ``. `` after every name."""
    return _joined(names, " . ", " . ")


def evaluation_caption(names: Sequence[str]) -> tuple[str, list[Span]]:
    """The caption for a list of names that training and evaluation use, and where each is.

    Names lose what is in brackets, underscores become spaces, and each pair of spaces becomes one.
    """
    cleaned = [re.sub(r"\(.*\)", "", name).replace("_", " ").replace("  ", " ") for name in names]
    return _joined(cleaned, ". ", "")


def _joined(names: Sequence[str], between: str, after: str) -> tuple[str, list[Span]]:
    spans: list[Span] = []
    for name in names:
        start = spans[-1][1] + len(between) if spans else 0
        spans.append((start, start + len(name)))
    return between.join(names) + (after if names else ""), spans


def span_tokens(char_to_token: Callable[[int], int | None], spans: Sequence[Span], limit: int) -> list[int]:
    """Positions of the tokens of a phrase, [CLS] being 0.

    From a span's first character's token to its last one's; where a character has none (a space), the next two
    inwards are tried, and a span without both ends adds nothing.

    Args:
        char_to_token: Position of a character's token in the whole, untruncated text.
        spans: Where the phrase stands.
        limit: Tokens from here on are left out; the text is cut there.
    """

    def first(characters: range) -> int | None:
        tokens = (char_to_token(character) for character in characters if character >= 0)
        return next((token for token in tokens if token is not None), None)

    positions: set[int] = set()
    for start, end in spans:
        low, high = first(range(start, start + 3)), first(range(end - 1, end - 4, -1))
        if low is not None and high is not None:
            positions.update(range(low, high + 1))
    return sorted(position for position in positions if position < limit)


class Tokens(NamedTuple):
    """A tokenised text."""

    ids: list[int]  # at most the limit, [CLS] first, [SEP] last
    whole: Encoding  # not cut

    def of(self, spans: Sequence[Span], limit: int) -> list[int]:
        """See `span_tokens`."""
        return span_tokens(self.whole.char_to_token, spans, limit)


class WordPieces:
    """The tokenizer of bert-base-uncased or of a model like it: lower-casing, [CLS] … [SEP]."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.size = tokenizer.get_vocab_size()

    @classmethod
    def load(cls, folder: Path) -> WordPieces:
        """Read ``tokenizer.json`` of a folder or, where that is absent, ``vocab.txt``.

        Raises:
            UserError: there is neither, or it is damaged.
        """
        whole, words = folder / "tokenizer.json", folder / "vocab.txt"
        if whole.is_file():
            try:
                return cls(Tokenizer.from_file(str(whole)))
            except Exception as error:
                raise UserError(f"{whole} is not a tokenizer: {error}.") from error
        if not words.is_file():
            raise UserError(
                f"{folder} holds no BERT tokenizer: tokenizer.json or vocab.txt is needed, as in a snapshot of "
                "bert-base-uncased."
            )
        vocabulary = WordPiece.read_file(str(words))
        tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = BertPreTokenizer()
        tokenizer.post_processor = BertProcessing(*((name, vocabulary[name]) for name in ("[SEP]", "[CLS]")))
        return cls(tokenizer)

    def __call__(self, text: str, limit: int) -> Tokens:
        """Tokenise; of a longer text the first ``limit`` - 1 tokens and [SEP] remain."""
        whole = self.tokenizer.encode(text)
        ids = whole.ids
        return Tokens(ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]], whole)
