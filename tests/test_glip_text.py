import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellsign.errors import UserError
from tellsign.networks.glip import text
from tellsign.networks.glip.text import (
    WordPieces,
    demo_caption,
    evaluation_caption,
    noun_phrases,
    occurrences,
    phrases_of,
    span_tokens,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "ball", "##s", "café", "cafe", "dog", ".", "-"]
TAGS = st.sampled_from(["DT", "PDT", "JJ", "JJR", "JJS", "NN", "NNS", "NNP", "NNPS", "VB", "IN", ".", "CC"])


@pytest.fixture
def pieces(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return WordPieces.load(tmp_path)


@given(st.lists(TAGS, max_size=12))
@settings(deadline=None)
def test_chunks_are_those_of_nltk(tags):
    from nltk import RegexpParser

    tagged = [(f"w{i}", tag) for i, tag in enumerate(tags)]
    tree = RegexpParser("NP: {<DT>?<JJ.*>*<NN.*>+}").parse(tagged)
    expected = [" ".join(word for word, _ in chunk.leaves()) for chunk in tree.subtrees(lambda t: t.label() == "NP")]
    assert noun_phrases(tagged) == expected


def test_phrases_lose_punctuation_and_empty_ones_are_dropped():
    tagged = [("a", "DT"), ("dog", "NN"), ("'s", "NN"), ("is", "VB"), ("``", "NN"), ("in", "IN"), ("t-shirt", "NN")]
    assert noun_phrases(tagged) == ["a dog s", "t-shirt"]


def test_missing_data_of_nltk_are_named(monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(UserError, match=r"nltk\.downloader punkt_tab averaged_perceptron_tagger_eng"):
        phrases_of("a dog")


def test_phrases_of_a_caption_come_once_in_lower_case(monkeypatch):
    import nltk

    kinds = {"a": "DT", "red": "JJ", "dog": "NN", "ball": "NN"}
    monkeypatch.setattr(nltk, "word_tokenize", str.split)
    monkeypatch.setattr(nltk, "pos_tag", lambda words: [(word, kinds.get(word, "IN")) for word in words])
    assert phrases_of("A red ball near a Dog and a RED ball") == ["a red ball", "a dog"]


def test_phrases_with_the_real_tagger():
    try:
        found = phrases_of("A small dog is sitting on the green grass.")
    except UserError as error:
        assert text.NLTK_COMMAND in str(error)
        pytest.skip("needs NLTK's data, which is not part of this repository")
    assert found == ["a small dog", "the green grass"]


def test_occurrences_are_literal_and_within_words():
    assert occurrences("a+ dog", "A+ dogs, an A+ dog") == [(0, 6), (12, 18)]
    assert occurrences("a", "aaa") == [(0, 1), (1, 2), (2, 3)]
    assert occurrences("", "a") == []
    assert occurrences("cat", "a dog") == []


def test_captions_of_names():
    assert demo_caption(["fire hydrant", "dog"]) == ("fire hydrant . dog . ", [(0, 12), (15, 18)])
    assert evaluation_caption(["a_(b) c (d)", "e"]) == ("a . e", [(0, 2), (4, 5)])
    assert evaluation_caption(["x_ _y"])[0] == "x  y"  # pairs of spaces, once
    assert demo_caption([]) == ("", [])


def test_spans_reach_inwards_by_two_characters():
    tokens = {3: 1, 4: 1, 5: 2, 8: 3}  # character: token
    assert span_tokens(tokens.get, [(3, 6)], 9) == [1, 2]
    assert span_tokens(tokens.get, [(1, 8)], 9) == [1, 2]  # from 3, to 5
    assert span_tokens(tokens.get, [(0, 6)], 9) == []  # 0, 1, 2 have none
    assert span_tokens(tokens.get, [(3, 12)], 9) == []  # nor have 11, 10, 9
    assert span_tokens(tokens.get, [(8, 9), (3, 5)], 9) == [1, 3]
    assert span_tokens(tokens.get, [(3, 9)], 3) == [1, 2]  # the text ends there
    assert span_tokens({-1: 7}.get, [(0, 1)], 9) == []


def test_tokens_of_a_vocabulary(pieces, tmp_path):
    made = pieces("A RED  balls-Café?", 99)
    assert made.whole.tokens == ["[CLS]", "a", "red", "ball", "##s", "-", "cafe", "[UNK]", "[SEP]"]
    assert made.ids == [WORDS.index(token) for token in made.whole.tokens]
    assert made.of([(7, 12)], 99) == [3, 4]
    pieces.tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "vocab.txt").unlink()
    assert WordPieces.load(tmp_path)("A RED  balls-Café?", 99).ids == made.ids


def test_long_texts_are_cut_before_their_end_mark(pieces):
    made = pieces("a red ball . a dog", 5)
    assert [WORDS[token] for token in made.ids] == ["[CLS]", "a", "red", "ball", "[SEP]"]
    assert made.of([(13, 18)], 5) == []
    assert made.of([(2, 12)], 5) == [2, 3, 4]


def test_folders_without_a_tokenizer(tmp_path):
    with pytest.raises(UserError, match=r"vocab\.txt"):
        WordPieces.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="not a tokenizer"):
        WordPieces.load(tmp_path)
