"""The papers' printed numbers: read strictly, and checked against the papers' own arithmetic."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tellsign.errors import UserError
from tellsign.results.published import Quoted, load, lookup, mean

FOLDER = Path(__file__).parents[1] / "config" / "published"
# numbers of each table
COUNTS = {
    "mpft": {"table1": 99, "table2": 240, "table3": 240, "table4": 24, "table5": 40, "table6": 24, "table7": 43,
             "table8": 36, "table9": 18, "text": 21},
    "lol": {"table1": 63, "table2": 60, "table3": 15, "tableA4": 40, "text": 15},
    "rescale": {"table1": 200, "table2": 144, "table3": 90, "text": 11},
    "tidy": {"table1": 146, "table2": 146, "table3": 234, "text": 8},
}  # fmt: skip


@pytest.mark.parametrize("paper", COUNTS)
def test_every_number_of_the_tables_is_listed(paper: str) -> None:
    assert Counter(row.artifact for row in load(FOLDER / f"{paper}.csv")) == COUNTS[paper]


def printed_means(paper: str) -> Iterator[tuple[Quoted, Decimal, int]]:
    """Every printed mean with the mean of its printed parts and how many those are."""
    sets: dict[tuple, dict[str, Quoted]] = defaultdict(dict)
    for row in load(FOLDER / f"{paper}.csv"):
        sets[row.artifact, row.method, row.setting, row.metric][row.subset] = row
    for by_subset in sets.values():
        if "Avg" in by_subset and len(by_subset) > 1:
            parts = [Decimal(row.value) for subset, row in by_subset.items() if subset != "Avg"]
            yield by_subset["Avg"], sum(parts, Decimal()) / len(parts), len(parts)


@pytest.mark.parametrize(("paper", "means"), [("mpft", 35), ("lol", 7), ("rescale", 46), ("tidy", 18)])
def test_a_printed_mean_is_the_plain_mean_of_its_row_unless_its_note_contradicts_it(paper: str, means: int) -> None:
    row_means = list(printed_means(paper))
    assert len(row_means) == means
    for printed, average, parts in row_means:
        # half a last digit for the printed mean and half a last digit for its printed parts
        last_digit = Decimal(1).scaleb(int(Decimal(printed.value).as_tuple().exponent))
        differs = abs(average - Decimal(printed.value)) > last_digit
        assert differs == printed.contradicted, (printed, average)
        if differs:
            assert printed.note == f"as printed; the {parts} columns average {average.quantize(last_digit)}"


def test_drops_of_mpft_table_5_follow_from_table_4_unless_a_note_contradicts_them() -> None:
    rows = load(FOLDER / "mpft.csv")
    drops = [row for row in rows if row.artifact == "table5" and row.metric.endswith("drop")]
    assert len(drops) == 20
    for row in drops:
        metric = row.metric.removesuffix(" drop")
        whole = lookup(rows, "table4", "TAM (Ours)", row.setting, "Avg", metric)
        left = lookup(rows, "table5", row.method, row.setting, "Avg", metric)
        follows = Decimal(whole.value) - Decimal(left.value) == Decimal(row.value)
        assert follows != (row.contradicted or left.contradicted), row


def test_means_that_stand_in_several_tables_of_a_paper_agree() -> None:
    rows = load(FOLDER / "mpft.csv")
    for setting, table, best in (("GenImage", "table1", "(0.6, 0.8)"), ("UniversalFakeDetect", "table2", "(0.0, 0.4)")):
        whole = lookup(rows, table, "MPFT", "", "Avg", "accuracy").value
        assert whole == lookup(rows, "table4", "TAM (Ours)", setting, "Avg", "accuracy").value
        assert whole == lookup(rows, "table8", best, setting, "Avg", "accuracy").value
    rows = load(FOLDER / "lol.csv")
    one = lookup(rows, "table2", "3200", "CLIP-RN50", "Avg", "accuracy")
    other = lookup(rows, "table3", "(0.6, 0.8)", "(0.33, 3.0)", "Avg", "accuracy")
    assert (one.value, one.std) == (other.value, other.std)
    rows = load(FOLDER / "rescale.csv")
    for row in rows:
        if (row.artifact, row.method) == ("table2", "Ours"):
            again = lookup(rows, "table3", "Xception+Pre-training(Ours)", "Ablation Study", row.subset, row.metric)
            assert row.value == again.value


GAINS = [
    ("mpft", "GenImage, against C2P-CLIP", "table1", "MPFT", "C2P-CLIP"),
    ("mpft", "UniversalFakeDetect, against CLIP-ViT", "table2", "MPFT", "CLIP-ViT"),
    ("mpft", "UniversalFakeDetect, against CLIP-ViT", "table3", "MPFT", "CLIP-ViT"),
    ("lol", "eight training subsets, against LaRE2", "table1", "LoL", "LaRE2"),
    ("rescale", "Self-Synthesis, against UnivFD", "table1", "Ours", "UnivFD"),
    ("rescale", "Self-Synthesis, against NPR", "table1", "Ours", "NPR"),
    ("rescale", "GenImage, against UnivFD", "table2", "Ours", "UnivFD"),
    ("rescale", "GenImage, against C2P-CLIP", "table2", "Ours", "C2P-CLIP"),
    ("tidy", "against DIRE", "table2", "TIDY", "DIRE"),
]


@pytest.mark.parametrize(("paper", "setting", "table", "own", "rival"), GAINS)
def test_gains_that_a_text_gives_follow_from_the_table(
    paper: str, setting: str, table: str, own: str, rival: str
) -> None:
    rows = load(FOLDER / f"{paper}.csv")
    metric = "ap" if table == "table3" or paper == "tidy" else "accuracy"
    gain = lookup(rows, "text", own, setting, "Avg", f"{metric} gain")
    if paper == "tidy":  # Table 2 of TIDY prints no means
        one, other = (mean(rows, table, method, "", metric) for method in (own, rival))
    else:
        one, other = (lookup(rows, table, method, "", "Avg", metric) for method in (own, rival))
    differs = Decimal(one.value) - Decimal(other.value) != Decimal(gain.value)
    assert differs == gain.contradicted


def test_mpft_calls_the_2698_fakes_of_deepfakes_negative_and_doubles_the_reals_of_seven_sets() -> None:
    rows = load(FOLDER / "mpft.csv")
    share = lookup(rows, "table7", "Deepfakes", "Testing Set", "", "negatives").value
    assert [f"{100 * n / 5405:.1f}" for n in (2698, 2707)] == [share, "50.1"]
    doubled = [q.method for q in rows if q.artifact == "table7" and q.metric == "negatives" and q.value == "33.3"]
    assert len(doubled) == 7
    for method in doubled:
        assert lookup(rows, "table7", method, "Testing Set", "", "images").number == 1000 / (1 / 3)


@pytest.mark.parametrize(
    ("artifact", "metric", "printed"), [("table1", "accuracy", (2.54, 7.14)), ("table2", "ap", (1.69, 8.02))]
)
def test_gains_of_tidy_are_differences_of_plain_means(artifact: str, metric: str, printed: tuple) -> None:
    rows = load(FOLDER / "tidy.csv")

    def average(method: str) -> float:
        numbers = [r.number for r in rows if (r.artifact, r.method, r.metric) == (artifact, method, metric)]
        assert len(numbers) == 16
        return sum(numbers) / 16

    for rival, gain in zip(("UniFD", "NPR"), printed, strict=True):
        assert average("TIDY") - average(rival) == pytest.approx(gain, abs=0.0101)
        assert lookup(rows, artifact, "TIDY", f"against {rival}", "Avg", f"{metric} gain").value == f"{gain:.2f}"


def test_tables_shared_by_two_papers_agree() -> None:
    mpft, rescale = load(FOLDER / "mpft.csv"), load(FOLDER / "rescale.csv")
    for name, other in (("C2P-CLIP", "C2P-CLIP"), ("NPR", "NPR"), ("UniFD", "UnivFD"), ("F3Net", "F3Net")):
        for subset in ("ADM", "GLIDE", "VQDM", "Wukong", "BigGAN", "Avg"):
            one = lookup(mpft, "table1", name, "", subset, "accuracy")
            assert one.value == lookup(rescale, "table2", other, "", subset, "accuracy").value


def test_a_misprint_is_kept_as_printed() -> None:
    row = lookup(load(FOLDER / "mpft.csv"), "table5", "jpeg", "GenImage", "Avg", "ap")
    assert row.value == "3.2" and row.contradicted
    assert "misprint" in row.note
    rows = [q for q in load(FOLDER / "tidy.csv") if (q.artifact, q.method, q.metric) == ("table3", "TIDY", "ap")]
    assert len({q.subset for q in rows}) == 13  # two columns are printed under one name


def test_a_wrong_key_is_named_with_its_near_miss() -> None:
    rows = [Quoted("table1", "MPFT", "", "Avg", "accuracy", "98.2", "", "")]
    assert lookup(rows, "table1", "MPFT", "", "Avg", "accuracy").number == pytest.approx(98.2)
    with pytest.raises(UserError, match=r"no method 'MPTF' there. Did you mean 'MPFT'"):
        lookup(rows, "table1", "MPTF", "", "Avg", "accuracy")
    with pytest.raises(UserError, match=r"no subset 'Mean' there. Known: 'Avg'"):
        lookup(rows, "table1", "MPFT", "", "Mean", "accuracy")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("artifact,method\n", "got columns"),
        ("artifact,method,setting,subset,metric,value,std,note\nt,m,,s,accuracy,x,,\n", "'x' is no number"),
        ("artifact,method,setting,subset,metric,value,std,note\nt,m,,s,accuracy\n", "expected 8 cells"),
        ("artifact,method,setting,subset,metric,value,std,note\n" + "t,m,,s,accuracy,1,,\n" * 2, "twice"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=problem):
        load(tmp_path / "p.csv")
    with pytest.raises(UserError, match=r"no printed numbers.*Did you mean 'p.csv'"):
        load(tmp_path / "q.csv")


def test_a_mean_that_is_not_printed_is_computed_and_says_so() -> None:
    rows = load(FOLDER / "tidy.csv")
    average = mean(rows, "table1", "TIDY", "", "accuracy")
    assert average.value == "89.71"
    assert average.note == "not printed: the plain mean of the 16 printed numbers"
    with pytest.raises(UserError, match="Did you mean 'TIDY'"):
        mean(rows, "table1", "TIDI", "", "accuracy")


def test_what_all_four_should_give_by_the_four_printed_rows_is_as_docs_mpft_says() -> None:
    printed = load(FOLDER / "mpft.csv")
    page = (FOLDER.parents[1] / "docs" / "mpft.md").read_text(encoding="utf-8")
    by_reading = []
    for setting, clean in (("GenImage", 98.2), ("UniversalFakeDetect", 94.6)):
        rows = [q for q in printed if (q.artifact, q.setting, q.metric) == ("table5", setting, "accuracy")]
        found = {q.method: float(q.value) for q in rows}
        four = [found[name] for name in ("noise", "blur", "jpeg", "cropping")]
        shares = [(value - 50) / (clean - 50) for value in four]
        product, halves = math.prod(shares), math.prod((1 + share) / 2 for share in shares)
        above_chance = [50 + (clean - 50) * share for share in (product, halves)]
        by_reading.append([found["combined"], sum(four) / 4, min(four), *above_chance])
    for one, other in zip(*by_reading, strict=True):
        assert f"| {one:.1f} | {other:.1f} |" in page
