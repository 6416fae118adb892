"""How the command line follows from the arguments of a ``main``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tellsign.__main__ import stage_parser


def words_and_flags(first: Path, rest: list[str], *, out: Path | None = None) -> int:
    """Take words.

    Args:
        first: The first word.
        rest: At least one more.
        out: A file.
    """
    return 0


def perhaps_a_word(name: str = "all") -> int:
    """Take at most one word."""
    return 0


def test_positional_arguments_go_without_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    parser = stage_parser("compare", words_and_flags, "")
    assert vars(parser.parse_args(["a", "b", "c", "--out", "d"])) == {
        "first": Path("a"), "rest": ["b", "c"], "out": Path("d"),
    }  # fmt: skip
    assert "FIRST REST [REST ...]" in parser.format_help() and "The first word." in parser.format_help()
    with pytest.raises(SystemExit):
        parser.parse_args(["a"])
    assert "required: REST" in capsys.readouterr().err


def test_a_word_with_a_default_may_be_left_out() -> None:
    parser = stage_parser("compare", perhaps_a_word, "")
    assert vars(parser.parse_args([])) == {"name": "all"} and vars(parser.parse_args(["x"])) == {"name": "x"}
