"""Tables of claims: sentences of the papers, our numbers, and whether they hold."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from test_tables import BANNER, BASE, TAM, document_of, section, spec

from tellsign.errors import UserError
from tellsign.results.published import Quoted, load
from tellsign.results.tables.measured import OfSeed, differences
from tellsign.results.tables.verdicts import least_that_prints_as, verdict

ROOT = Path(__file__).parents[1]
PAPERS = ROOT.parent / "shared" / "papers"
PUBLISHED_FOLDER = ROOT / "config" / "published"
SENTENCE = re.compile(r'section \d[\d.]*\b[^"]*: "([^"]+)"')
"""Where a sentence stands, and its words."""


@pytest.mark.parametrize(
    ("low", "high", "by_seed", "expected"),
    [
        (0.1, 2.0, (0.2, 1.0), "holds"),
        (-0.1, 2.0, (0.2, 1.0), "not decided"),  # the interval reaches below
        (0.1, 2.0, (-0.2, 1.0), "not decided"),  # one seed is below
        (0.0, 2.0, (1.0,), "not decided"),  # at the threshold is not above it
        (-2.0, -0.1, (-1.0, -0.3), "does not hold"),
        (-2.0, -0.1, (-1.0, 0.3), "not decided"),
        (math.nan, math.nan, (1.0,), "not decided"),
    ],
)
def test_a_verdict_needs_the_interval_and_every_seed_on_one_side(
    low: float, high: float, by_seed: tuple[float, ...], expected: str
) -> None:
    assert verdict(low, high, by_seed, 0.0) == expected
    assert verdict(low + 5, high + 5, [one + 5 for one in by_seed], 5.0) == expected


def test_a_printed_number_is_reached_by_what_rounds_to_it() -> None:
    assert [least_that_prints_as(text) for text in ("12.0", "2.54", "1,600")] == pytest.approx([11.95, 2.535, 1599.5])


def test_the_interval_of_a_difference_adds_facing_distances_as_squares() -> None:
    these = [OfSeed(3, 90.0, 87.0, 92.0), OfSeed(4, 80.0, 79.0, 81.0)]
    those = [OfSeed(5, 10.0, 9.0, 11.0), OfSeed(3, 70.0, 66.0, 74.0)]
    (only,) = differences(these, those)
    assert (only.seed, only.value, only.low) == (3, 20.0, pytest.approx(20 - math.sqrt(3**2 + 4**2)))
    assert only.high == pytest.approx(20 + math.sqrt(2**2 + 4**2)) and math.isnan(only.sd_epochs)


NOTE = 'section 5.1: "12.0% better"'
CLAIMS = [
    Quoted("text", "MPFT", "against direct", "Avg", "accuracy gain", "12.0", "", NOTE),
    Quoted("text", "MPFT", "against direct", "Avg", "ap gain", "3.1", "", NOTE),
    Quoted("text", "MPFT", "against C2P", "Avg", "accuracy gain", "2.4", "", 'section 5.2: "2.4%"'),
    Quoted("text", "MPFT", "order", "Avg", "accuracy gain", "", "", 'section 5.3: "outperforms"'),
    Quoted("text", "MPFT", "level", "Avg", "accuracy", "93.1", "", 'section 5.4: "93.1%"'),
]
ROWS = [
    {"run": "tam", "less": {"run": "base"}, "label": "gain", "quoted": {"setting": "against direct"}},
    {
        "run": "tam",
        "less": {"run": "base"},
        "metric": "ap_fake",
        "label": "AP",
        "quoted": {"setting": "against direct"},
    },
    {"run": "base", "less": {"run": "tam"}, "label": "order", "quoted": {"setting": "order"}},
    {"run": "tam", "label": "level", "quoted": {"setting": "level"}},
    {"label": "rival", "why": "C2P is not run here.", "quoted": {"setting": "against C2P", "metric": "accuracy gain"}},
]


def claims_of(**change: object) -> dict:
    settings = {"kind": "claims", "metric": ["accuracy", "ap_fake"], "quoted": {"artifact": "text", "method": "MPFT"}}
    return spec(**settings, rows=ROWS, comparable=True, banner="") | change


def test_claims_stand_with_their_sentence_and_both_verdicts() -> None:
    document = document_of(claims_of(), TAM + BASE, CLAIMS)
    names, lines = section(document)
    assert names == ["claim", "metric", "quoted", "ours ± sd", "95 % interval", "direction", "size", "seeds"]
    # seed 0 alone is shared: 90 less 80, and 2 points to each end of both
    interval = f"+{10 - 8**0.5:.1f} to +{10 + 8**0.5:.1f}"
    assert lines["1. gain"] == ["accuracy", "12.0", "+10.0 ± –", interval, "holds", "not decided", "1"]
    assert lines["1. AP"] == ["AP (fake positive)", "3.1", "+10.0 ± –", interval, "holds", "holds", "1"]
    assert lines["2. order"][1:] == ["–", "−10.0 ± –", "−12.8 to −7.2", "does not hold", "–", "1"]
    assert lines["3. level"][1:] == ["93.1", "93.0 ± 3.6", "91.0 to 95.0", "–", "not decided", "3"]
    assert lines["4. rival"][1:] == ["2.4", "–", "–", "not decided†", "not decided†", "–"]
    assert document.footnotes[0] == f"1: {NOTE}" and "† C2P is not run here." in document.footnotes
    assert [number.value for number in document.numbers if number.source == "delta"] == pytest.approx([-2.0, 6.9, -0.1])


def test_elsewhere_the_size_of_a_claim_is_not_compared_but_its_direction_is() -> None:
    document = document_of(claims_of(comparable=False, banner=BANNER), TAM + BASE, CLAIMS)
    assert section(document)[1]["1. gain"][4:6] == ["holds", "n/a†"]
    assert not [number for number in document.numbers if number.source == "delta"]
    contradicted = [replace(CLAIMS[0], note=f"as printed; {NOTE}"), *CLAIMS[1:]]
    assert section(document_of(claims_of(), TAM + BASE, contradicted))[1]["1. gain"][4:6] == ["holds", "n/a†"]


def test_a_claim_without_a_sentence_is_refused() -> None:
    with pytest.raises(UserError, match="row x: a claim needs 'quoted'"):
        document_of(claims_of(rows=[{"run": "tam", "label": "x"}]), TAM, CLAIMS)
    with pytest.raises(UserError, match=r"no setting 'ordre' there\. Did you mean 'order'"):
        document_of(claims_of(rows=[ROWS[2] | {"quoted": {"setting": "ordre"}}]), TAM + BASE, CLAIMS)


@pytest.mark.parametrize("paper", ["mpft", "lol", "rescale", "tidy"])
def test_every_sentence_is_in_its_paper(paper: str) -> None:
    text = PAPERS / f"{paper}.txt"
    if not text.is_file():
        pytest.skip(f"{text} is not there: the papers' texts are not part of the repository")
    printed = " ".join(text.read_text(encoding="utf-8").replace("’", "'").split())
    claims = [q for q in load(PUBLISHED_FOLDER / f"{paper}.csv") if q.artifact == "text" or "gain" in q.metric]
    assert claims
    for quoted in claims:
        found = SENTENCE.search(quoted.note)
        assert found, quoted
        assert found[1] in printed and quoted.value in found[1]
