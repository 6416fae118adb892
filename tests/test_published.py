"""The papers' printed numbers: read strictly, and checked against the papers' own arithmetic."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from tellsign.errors import UserError
from tellsign.published import Quoted, load, lookup, mean

FOLDER = Path(__file__).parents[1] / "config" / "published"
PAPERS = {"mpft": 679, "lol": 178, "rescale": 434, "tidy": 526}

# Printed means that their printed parts contradict by more than rounding can explain, and by how much.
CONTRADICTIONS = {
    # MPFT, headline of Table 2: the 19 accuracies average 95.2, the table (and Tables 4 and 8) print 94.6
    ("mpft", "table2", "MPFT", "accuracy"): "0.6263",
    # MPFT Table 2, F3Net: 72.8 against the printed 71.3
    ("mpft", "table2", "F3Net", "accuracy"): "1.4789",
    # rescale Table 2, Effort: the 8 accuracies average 90.1, printed 91.1
    ("rescale", "table2", "Effort", "accuracy"): "-1.0125",
    # TIDY Table 3, own row: 87.278 against the printed 87.29
    ("tidy", "table3", "TIDY", "accuracy"): "-0.0117",
}


@pytest.mark.parametrize(("paper", "count"), PAPERS.items())
def test_every_number_of_the_tables_is_listed(paper: str, count: int) -> None:
    assert len(load(FOLDER / f"{paper}.csv")) == count


def test_printed_means_are_plain_means_but_for_a_known_few() -> None:
    found = {}
    for paper in PAPERS:
        sets: dict[tuple, dict[str, Decimal]] = defaultdict(dict)
        for row in load(FOLDER / f"{paper}.csv"):
            sets[row.artifact, row.method, row.setting, row.metric][row.subset] = Decimal(row.value)
        for (artifact, method, _, metric), held in sets.items():
            parts = [value for subset, value in held.items() if subset != "Avg"]
            if "Avg" not in held or not parts:
                continue
            gap = sum(parts) / len(parts) - held["Avg"]
            # half a last digit for the printed mean and half a last digit for its printed parts
            if abs(gap) > Decimal(1).scaleb(int(held["Avg"].as_tuple().exponent)):
                found[paper, artifact, method, metric] = str(gap.quantize(Decimal("0.0001")))
    assert found == CONTRADICTIONS


def test_drops_of_mpft_table_5_follow_from_table_4_but_for_two() -> None:
    rows = load(FOLDER / "mpft.csv")
    wrong = {}
    for row in rows:
        if row.artifact == "table5" and row.metric.endswith("drop"):
            metric = row.metric.removesuffix(" drop")
            whole = lookup(rows, "table4", "TAM (Ours)", row.setting, "Avg", metric)
            left = lookup(rows, "table5", row.method, row.setting, "Avg", metric)
            if round(whole.number - left.number, 1) != row.number:
                wrong[row.setting, row.method, metric] = (left.value, row.value)
    assert wrong == {
        ("GenImage", "jpeg", "ap"): ("3.2", "1.09"),  # a misprint
        ("UniversalFakeDetect", "noise", "ap"): ("91.4", "7.5"),  # 99.0 - 91.4 = 7.6
    }


@pytest.mark.parametrize(
    ("artifact", "metric", "printed"), [("table1", "accuracy", (2.54, 7.14)), ("table2", "ap", (1.69, 8.02))]
)
def test_gains_of_tidy_are_differences_of_plain_means(artifact: str, metric: str, printed: tuple) -> None:
    rows = load(FOLDER / "tidy.csv")

    def average(method: str) -> float:
        held = [r.number for r in rows if (r.artifact, r.method, r.metric) == (artifact, method, metric)]
        assert len(held) == 16
        return sum(held) / 16

    for rival, gain in zip(("UniFD", "NPR"), printed, strict=True):
        assert average("TIDY") - average(rival) == pytest.approx(gain, abs=0.0101)
        assert lookup(rows, artifact, "TIDY", f"against {rival}", "Avg", f"{metric} gain").value == f"{gain:.2f}"


def test_tables_shared_by_two_papers_agree() -> None:
    mpft, rescale = load(FOLDER / "mpft.csv"), load(FOLDER / "rescale.csv")
    for name, other in (("C2P-CLIP", "C2P-CLIP"), ("NPR", "NPR"), ("UniFD", "UnivFD"), ("F3Net", "F3Net")):
        for subset in ("ADM", "GLIDE", "VQDM", "Wukong", "BigGAN", "Avg"):
            one = lookup(mpft, "table1", name, "", subset, "accuracy")
            assert one.value == lookup(rescale, "table2", other, "", subset, "accuracy").value


def test_what_a_paper_contradicts_is_kept_as_printed_and_noted() -> None:
    row = lookup(load(FOLDER / "mpft.csv"), "table5", "jpeg", "GenImage", "Avg", "ap")
    assert row.value == "3.2"
    assert "misprint" in row.note
    for paper, artifact, method, metric in CONTRADICTIONS:
        assert "as printed" in lookup(load(FOLDER / f"{paper}.csv"), artifact, method, "", "Avg", metric).note


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
    found = mean(rows, "table1", "TIDY", "", "accuracy")
    assert found.value == "89.71"
    assert found.note == "not printed: the plain mean of the 16 printed numbers"
    with pytest.raises(UserError, match="Did you mean 'TIDY'"):
        mean(rows, "table1", "TIDI", "", "accuracy")
