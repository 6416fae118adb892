"""Tables from metrics and printed numbers, in four formats."""

from __future__ import annotations

import csv
import io
import math
import re
import statistics
import sys
import types
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tellsign.errors import UserError
from tellsign.results.published import Quoted
from tellsign.results.tables.document import Document
from tellsign.results.tables.kinds import TABLE_KINDS, TableKind
from tellsign.results.tables.layout import Draft, side_by_side
from tellsign.results.tables.make import make_document
from tellsign.results.tables.specification import read_spec
from tellsign.results.tables.writers import FORMATS, document_from_json, escape_latex
from tellsign.schema.tables import table_settings
from tellsign.stages.evaluate import COLUMNS

BANNER = "Demo: this exercises the pipeline; it says nothing about the papers' claims."
SUBSETS = ("ldm", "fsq")
PUBLISHED = [
    Quoted("table1", method, setting, subset, metric, value, "", "")
    for method, setting, subset, metric, value in (
        ("MPFT", "", "Avg", "accuracy", "98.2"),
        ("MPFT", "", "ADM", "accuracy", "91.5"),
        ("MPFT", "", "Avg", "ap", "99.9"),
        ("MPFT", "", "ADM", "ap", "99.0"),
        ("NPR", "", "Avg", "accuracy", "88.6"),
        ("NPR", "", "ADM", "accuracy", "76.9"),
    )
]
GRID = [
    Quoted("table3", ratio, aspect, "Avg", "accuracy", value, std, "")
    for ratio, aspect, value, std in (
        ("(0.0, 0.2)", "(1.0, 1.0)", "91.6", "3.6"),
        ("(0.0, 0.2)", "(0.5, 2.0)", "93.9", "1.4"),
        ("(0.6, 0.8)", "(1.0, 1.0)", "94.4", "1.5"),
        ("(0.6, 0.8)", "(0.5, 2.0)", "95.9", "0.9"),
    )
]


def metrics(run: str, values: dict[int, float], perturbation: str = "none", benchmark: str = "demo") -> list:
    """Metrics of a run: accuracy of the mean is ``values`` by seed, AP 0.05 higher, the worst epoch's 0.01 lower."""
    rows = []
    for seed, value in values.items():
        for subset, shift in (("ldm", 0.01), ("fsq", -0.01), ("mean", 0.0)):
            for metric, more in (("accuracy", 0.0), ("ap_fake", 0.05)):
                at = value + shift + more
                rules = [("last", 1, 10, math.nan, 0.0), ("mean", 5, 10, 0.007, 0.0)]
                rules += [("epoch", 1, 8 + k, math.nan, (k - 1) / 100) for k in range(3)]
                for rule, epochs, epoch, spread, off in rules:
                    rule_of = "0.5" if metric == "accuracy" else "none"
                    numbers = (
                        "mpft",
                        run,
                        seed,
                        rule,
                        epoch,
                        epochs,
                        benchmark,
                        subset,
                        perturbation,
                        rule_of,
                        metric,
                    )
                    numbers += (
                        at + off,
                        at + off - 0.02,
                        at + off + 0.02,
                        spread,
                        100,
                        100,
                        30.0 + seed,
                        "rec",
                        "cod",
                        "dat",
                        "",
                    )
                    rows.append(dict(zip(COLUMNS, numbers, strict=True)))
    return rows


TAM = metrics("tam", {0: 0.90, 1: 0.92, 2: 0.97})
BASE = metrics("base", {0: 0.80})


def spec(**change: object) -> dict:
    return {
        "paper": "mpft", "name": "table1", "title": "MPFT on GenImage", "kind": "subsets",
        "metric": "accuracy",
        "rows": [{"run": "tam", "label": "MPFT (TAM)", "quoted": "MPFT"}, {"run": "base", "label": "direct"},
                 {"quoted": "NPR"}],
        "quoted": {"artifact": "table1"}, "banner": BANNER, "comparable": False,
    } | change  # fmt: skip


def document_of(settings: dict, rows: list, published: list) -> Document:
    return make_document(table_settings(settings), rows, published)


def section(document: Document, number: int = 0) -> tuple[list[str], dict[str, list[str]]]:
    whole = document.sections[number]
    names = [f"{column.group} {column.name}".strip() for column in whole.columns]
    return names, {row.cells[0]: list(row.cells[1:]) for row in whole.rows}


def test_mean_panel_keeps_quoted_and_ours_apart() -> None:
    names, lines = section(document_of(spec(), TAM + BASE, PUBLISHED))
    assert names[1:] == [
        "accuracy quoted", "accuracy ours ± sd", "accuracy 95 % interval", "accuracy delta", "images seen",
        "seeds",
    ]  # fmt: skip
    sd = statistics.stdev([90.0, 92.0, 97.0])
    assert lines["MPFT (TAM)"] == ["98.2", f"93.0 ± {sd:.1f}", "91.0–95.0", "n/a†", "31", "3"]
    assert lines["direct"] == ["–", "80.0 ± –", "78.0–82.0", "–", "30", "1"]
    assert lines["NPR‡"] == ["88.6", "–", "–", "–", "–", "–"]


def test_no_column_holds_quoted_and_own_numbers() -> None:
    document = document_of(spec(), TAM + BASE, PUBLISHED)
    ours = {f"{n.value:.1f}" for n in document.numbers if n.source == "ours"}
    quoted = {f"{n.value:.1f}" for n in document.numbers if n.source == "quoted"}
    assert not ours & quoted
    for whole in document.sections:
        for column in range(1, len(whole.columns)):
            first = {line.cells[column].split(" ")[0].rstrip("†‡") for line in whole.rows}
            assert not (first & ours and first & quoted), whole.columns[column]


def test_panels_by_subset() -> None:
    document = document_of(spec(), TAM + BASE, PUBLISHED)
    names, lines = section(document, 1)
    assert names[1:] == ["ldm", "fsq", "mean"]
    assert lines["direct"] == ["81.0 ± –", "79.0 ± –", "80.0 ± –"]
    assert set(lines) == {"MPFT (TAM)", "direct"}
    names, lines = section(document, 2)
    assert names[1:] == ["Avg", "ADM"]
    assert lines == {"MPFT (TAM)": ["98.2", "91.5"], "NPR": ["88.6", "76.9"]}
    assert len(document.sections) == 3


def test_a_mean_over_more_than_is_shown_says_so() -> None:
    assert document_of(spec(), TAM + BASE, PUBLISHED).sections[0].heading == "Mean over subsets"
    shown = document_of(spec(columns=["ldm"]), TAM + BASE, PUBLISHED).sections
    assert shown[0].heading == "Mean over all 2 tested subsets, of which 1 are shown below"
    assert [column.name for column in shown[1].columns][1:] == ["ldm", "mean"]


def test_delta_only_where_it_may_be_compared() -> None:
    columns = [{"subset": "ldm", "quoted": "ADM"}, "fsq"]
    document = document_of(spec(comparable=True, columns=columns), TAM + BASE, PUBLISHED)
    assert section(document)[1]["MPFT (TAM)"][3] == "−5.2"
    names, lines = section(document, 3)
    assert names[1:] == ["ldm"]
    assert lines == {"MPFT (TAM)": ["+2.5"]}  # 94.0 against 91.5
    deltas = [number.value for number in document.numbers if number.source == "delta"]
    assert deltas == pytest.approx([-5.2, 2.5])
    apart = document_of(spec(), TAM + BASE, PUBLISHED)
    assert not [number for number in apart.numbers if number.source == "delta"]
    assert any("measured on demo" in note for note in apart.footnotes)
    assert any(note == "† Other." for note in document_of(spec(why="Other."), TAM + BASE, PUBLISHED).footnotes)


def test_a_printed_number_that_its_own_note_contradicts_has_no_delta() -> None:
    note = "as printed; the two columns average 94.9"
    published = [replace(PUBLISHED[0], note=note), *PUBLISHED[1:]]
    document = document_of(spec(comparable=True, columns=[{"subset": "ldm", "quoted": "ADM"}]), TAM + BASE, published)
    assert section(document)[1]["MPFT (TAM)"][:4] == ["98.2†", "93.0 ± 3.6", "91.0–95.0", "n/a‡"]
    assert document.footnotes[:2] == (
        f"† Quoted: {note}.", "‡ Not compared: the paper itself contradicts the quoted number."
    )  # fmt: skip
    assert section(document, 3)[1]["MPFT (TAM)"] == ["+2.5"]  # its neighbour keeps its own
    assert [number.value for number in document.numbers if number.source == "delta"] == pytest.approx([2.5])


def test_pairs_put_two_metrics_in_a_cell() -> None:
    rows = [{"run": "tam", "label": "TAM", "quoted": "MPFT"}]
    document = document_of(spec(metric=["accuracy", "ap_fake"], rows=rows), TAM, PUBLISHED)
    assert section(document)[1]["TAM"][4] == "99.9"
    assert section(document, 1)[1]["TAM"] == ["94.0 / 99.0", "92.0 / 97.0", "93.0 / 98.0"]
    assert section(document, 2)[1]["TAM"] == ["98.2 / 99.9", "91.5 / 99.0"]
    assert any("which class" in note for note in document.footnotes)
    document = document_of(spec(metric=["ap_fake", "ap_fake"], rows=rows), TAM, PUBLISHED)
    assert section(document, 2)[1]["TAM"] == ["99.9", "99.0"]  # the paper prints one AP


def test_runs_have_a_block_of_columns_for_each_metric() -> None:
    accuracies = [quoted for quoted in PUBLISHED if quoted.metric == "accuracy"]
    settings = spec(kind="runs", metric=["accuracy", "ap_fake"], cost=False)
    document = document_of(settings, TAM + BASE, accuracies)
    names, lines = section(document)
    assert names[1:] == [
        "accuracy quoted", "accuracy ours ± sd", "accuracy 95 % interval", "accuracy delta",
        "AP (fake positive) ours ± sd", "AP (fake positive) 95 % interval", "seeds",
    ]  # fmt: skip
    # the paper's table has no AP at all: no column for one
    assert lines["direct"] == ["–", "80.0 ± –", "78.0–82.0", "–", "85.0 ± –", "83.0–87.0", "1"]
    assert lines["MPFT (TAM)"][3] == "n/a†"
    assert all(math.isnan(number.images_seen) for number in document.numbers)


def test_a_row_may_average_several_runs_seed_by_seed() -> None:
    other = metrics("other", {0: 0.70, 1: 0.90, 2: 0.91})
    rows = [{"runs": ["tam", "other"], "label": "both"}]
    document = document_of(spec(rows=rows, quoted=None), TAM + other, [])
    sd = statistics.stdev([80.0, 91.0, 94.0])
    assert section(document)[1]["both"] == [f"88.3 ± {sd:.1f}", "86.3–90.3", "62", "3"]
    with pytest.raises(UserError, match="different seeds"):
        document_of(spec(rows=[{"runs": ["tam", "base"], "label": "both"}], quoted=None), TAM + BASE, [])


def test_a_mean_may_leave_subsets_out_and_a_row_may_subtract_another() -> None:
    base = metrics("base", {1: 0.80, 2: 0.81})
    rows = [
        {"run": "tam", "label": "others", "without": ["ldm"]},
        {"run": "tam", "label": "gain", "less": {"run": "base"}},
        {"run": "tam", "label": "seen", "subset": "ldm", "less": {"subset": "fsq"}},
    ]
    document = document_of(spec(kind="runs", rows=rows, quoted=None), TAM + base, [])
    lines = section(document)[1]
    assert lines["others"][:2] == ["92.0 ± 3.6", "90.0–94.0"]  # fsq alone
    # seeds 1 and 2: 12 and 16; 2 points to each end of both intervals
    assert lines["gain"][:2] == ["14.0 ± 2.8", f"{14 - 8**0.5:.1f}–{14 + 8**0.5:.1f}"]
    assert lines["seen"][0] == "2.0 ± 0.0"
    number = document.numbers[1]
    assert (number.run, number.by_seed) == ("tam less base", pytest.approx((12.0, 16.0)))
    with pytest.raises(UserError, match="they have 0, 1, 2 and 7"):
        document_of(spec(kind="runs", rows=rows[1:2], quoted=None), TAM + metrics("base", {7: 0.8}), [])
    nothing = [{"run": "tam", "label": "x", "without": ["ldm", "fsq"]}]
    with pytest.raises(UserError, match="without ldm, fsq no subset is left"):
        document_of(spec(kind="runs", rows=nothing, quoted=None), TAM, [])


def test_robustness_has_perturbations_as_rows() -> None:
    rows = [{"perturbation": "blur", "group": "Blurred"}, "none"]
    settings = spec(kind="robustness", run="tam", rows=rows, quoted=None)
    document = document_of(settings, TAM + metrics("tam", {0: 0.6}, "blur"), [])
    lines = document.sections[0].rows
    assert [line.cells[:3] for line in lines] == [
        ("Blurred",), ("blur", "60.0 ± –", "58.0–62.0"), ("none", "93.0 ± 3.6", "91.0–95.0")
    ]  # fmt: skip
    assert {number.row for number in document.numbers} == {"Blurred: blur", "none"}


def grid_spec(**change: object) -> tuple[dict, list]:
    recipes, rows = {}, []
    for k, (ratio, aspect) in enumerate((r, a) for r in ([0.0, 0.2], [0.6, 0.8]) for a in ([1.0, 1.0], [0.5, 2.0])):
        recipes[f"ratio-{k}"] = {"mask": {"ratio": ratio, "aspect": aspect}}
        rows += metrics(f"ratio-{k}", {0: 0.5 + k / 10})
    settings = spec(kind="grid", grid="ratio", recipes=recipes | {"tam": {}}, quoted="table3", checkpoint="mean")
    axes = {"rows": {"field": "mask.ratio", "label": "mask ratio"}, "columns": {"field": "mask.aspect"}}
    return settings | axes | {"spread": "epochs"} | change, rows


def test_grid_is_laid_out_by_recipe_fields() -> None:
    settings, rows = grid_spec()
    document = document_of(settings, rows, GRID)
    names, lines = section(document)
    assert names[0] == "mask ratio"
    assert names[1::5] == ["(0.5, 2.0) quoted", "(1.0, 1.0) quoted", "images seen"]  # in numerical order
    assert lines["(0.6, 0.8)"][:3] == ["95.9 ± 0.9", "80.0 ± 0.7", "79.0"]
    assert lines["(0.6, 0.8)"][5:8] == ["94.4 ± 1.5", "70.0 ± 0.7", "69.0"]
    assert lines["(0.0, 0.2)"][10] == "60"  # both runs of the row
    assert any("mean of the last 5 epochs" in note for note in document.footnotes)


def test_a_grid_of_several_metrics_has_a_section_for_each_column() -> None:
    settings, rows = grid_spec(metric=["accuracy", "ap_fake"], spread="seeds")
    document = document_of(settings, rows, GRID)
    assert [part.heading for part in document.sections] == ["mask.aspect: (0.5, 2.0)", "mask.aspect: (1.0, 1.0)"]
    names, lines = section(document, 1)
    assert names[1:5] == ["accuracy quoted", "accuracy ours ± sd", "accuracy 95 % interval", "accuracy delta"]
    assert lines["(0.6, 0.8)"][1] == "70.0 ± –" and lines["(0.6, 0.8)"][4] == "75.0 ± –"
    assert lines["(0.6, 0.8)"][-2:] == ["30", "1"]  # the cost of its own run alone


def test_a_deviation_over_epochs_stands_beside_that_over_seeds_and_the_lowest_epoch() -> None:
    rows = metrics("tam", {0: 0.90, 1: 0.94, 2: 0.98}) + metrics("other", {0: 0.70, 1: 0.70, 2: 0.70})
    settings = spec(kind="runs", rows=["tam"], quoted=None, checkpoint="mean", spread="epochs")
    document = document_of(settings, rows, [])
    names, lines = section(document)
    assert names[1:4] == ["accuracy ours ± sd of epochs", "accuracy sd of seeds", "accuracy worst epoch"]
    assert lines["tam"][:4] == ["94.0 ± 0.7", "4.0", "93.0", "92.0–96.0"]
    number = document.numbers[0]
    assert (number.sd, number.sd_epochs, number.least_epoch) == pytest.approx((4.0, 0.7, 93.0))
    assert number.by_seed == pytest.approx((90.0, 94.0, 98.0))
    assert any("with that over seeds and the lowest of the kept epochs" in note for note in document.footnotes)


def test_the_worst_epoch_of_several_runs_is_that_of_their_mean() -> None:
    rows = metrics("tam", {0: 0.90})
    turned = [row | {"epoch": 18 - row["epoch"]} if row["checkpoint"] == "epoch" else row for row in rows]
    rows += [row | {"run": "falling"} for row in turned]  # its first kept epoch is its best
    both = [{"runs": ["tam", "falling"], "label": "both"}]
    document = document_of(spec(kind="runs", rows=both, quoted=None, checkpoint="worst"), rows, [])
    assert section(document)[1]["both"][:2] == ["90.0 ± –", "88.0–92.0"]
    assert any("Checkpoint: lowest of the last 3 epochs." in note for note in document.footnotes)
    settings = spec(kind="runs", rows=["tam"], quoted=None, checkpoint="worst")
    assert section(document_of(settings, rows, []))[1]["tam"][:2] == ["89.0 ± –", "87.0–91.0"]
    fewer = [row for row in rows if (row["run"], row["checkpoint"], row["epoch"]) != ("falling", "epoch", 8)]
    with pytest.raises(UserError, match="kept different numbers of epochs"):
        document_of(spec(kind="runs", rows=both, quoted=None, checkpoint="worst"), fewer, [])


def test_grid_axes_rename_values_and_map_printed_names() -> None:
    axis = {"field": "mask.ratio", "names": {"(0.6, 0.8)": "most"}, "quoted": {"(0.6, 0.8)": "(0.6, 0.8)"}}
    settings, rows = grid_spec(rows=axis)
    lines = section(document_of(settings, rows, GRID))[1]
    assert lines["most"][5] == "94.4 ± 1.5"
    assert lines["(0.0, 0.2)"][0] == "–"
    one = {name: recipe for name, recipe in settings["recipes"].items() if recipe and recipe["mask"]["aspect"][0] == 1}
    single = document_of(settings | {"recipes": one, "columns": None, "quoted": None}, rows, [])
    assert section(single)[1]["most"][0] == "70.0 ± 0.7"
    with pytest.raises(UserError, match="ratio-0 and ratio-1 both stand at"):
        document_of(settings | {"columns": None, "quoted": None}, rows, [])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "subset"}, "Did you mean 'subsets'"),
        ({"kind": "pairs"}, "'pairs' is now 'subsets'. List two metrics, and they share a cell."),
        ({"rows": {"field": "mask.ratio"}}, "the rows of kind subsets are a list"),
        ({"titel": "x"}, "unknown key 'titel'. Did you mean 'title'"),
        ({"metric": "acuracy"}, "Did you mean 'accuracy'"),
        ({"metric": "auc"}, "no metrics of metric 'auc'"),
        ({"rows": [{"run": "tma"}]}, "unknown run in the metrics 'mpft/tma'. Did you mean 'mpft/tam'"),
        ({"rows": [{"run": "tam", "quotd": "MPFT"}]}, "rows[0]: unknown key 'quotd'. Did you mean 'quoted'"),
        ({"rows": [{"run": "tam", "quoted": "MPTF"}]}, "no method 'MPTF' there. Did you mean 'MPFT'"),
        ({"rows": [{"quoted": "NPR"}]}, "no row names a run"),
        ({"columns": ["ldn"]}, "no metrics of subset 'ldn'. Did you mean 'ldm'"),
        ({"checkpoint": "best"}, "no metrics of checkpoint 'best'"),
        ({"rows": [{"run": "tam", "metric": "acuracy"}]}, "rows[0].metric: unknown metric 'acuracy'. Did you mean"),
        ({"rows": [{"run": "tam", "less": {"rum": "base"}}]}, "rows[0].less: unknown key 'rum'. Did you mean 'run'"),
        ({"rows": [{"run": "tam", "why": "no"}]}, "'why' says why nothing is run, but the row names a run"),
        ({"spread": "runs"}, "Allowed: seeds, epochs"),
        ({"perturbation": "blurr"}, "no metrics of perturbation 'blurr'"),
    ],
)
def test_what_is_not_there_is_named(change: dict, problem: str) -> None:
    with pytest.raises(UserError, match=re.escape(problem)):
        document_of(spec(**change), TAM + BASE, PUBLISHED)


def test_a_run_on_two_benchmarks_needs_to_be_told_which() -> None:
    rows = metrics("tam", {0: 0.9}) + metrics("tam", {0: 0.7}, benchmark="folder")
    settings = spec(rows=[{"run": "tam"}], quoted=None)
    with pytest.raises(UserError, match="tested on demo, folder"):
        document_of(settings, rows, [])
    assert section(document_of(settings | {"benchmark": "folder"}, rows, []))[1]["tam"][0] == "70.0 ± –"


def test_one_kept_epoch_has_no_mean_and_the_error_says_what_to_do() -> None:
    rows = [row for row in TAM if row["checkpoint"] == "last"]
    with pytest.raises(UserError, match="Keep more than one epoch"):
        document_of(spec(rows=[{"run": "tam"}], checkpoint="mean"), rows, PUBLISHED)


@pytest.mark.parametrize("ending", FORMATS)
def test_banner_stands_above_in_every_format_and_text_is_stable(ending: str) -> None:
    write = FORMATS[ending]
    text = write(document_of(spec(), TAM + BASE, PUBLISHED))
    assert text == write(document_of(spec(), list(reversed(BASE + TAM))[::-1], PUBLISHED))
    plain = text.replace("\\", "").replace("&#x27;", "'")
    assert BANNER in plain
    if ending != "csv":
        assert plain.index(BANNER) < plain.index("98.2")
        assert BANNER not in write(document_of(spec(banner=""), TAM + BASE, PUBLISHED)).replace("\\", "")


def test_csv_holds_every_number_with_its_digests() -> None:
    document = document_of(spec(), TAM + BASE, PUBLISHED)
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](document))))
    ours = [row for row in rows if row["source"] == "ours"]
    assert len(ours) == 2 * 3
    assert {(row["recipe"], row["code"], row["data"]) for row in ours} == {("rec", "cod", "dat")}
    first = ours[0]
    assert (first["seeds"], first["low"], first["high"], first["run"]) == ("3", "91.0000", "95.0000", "tam")
    assert ours[1]["sd"] == ""  # one seed: nothing, never 0
    quoted = [row for row in rows if row["source"] == "quoted"]
    assert {row["printed"] for row in quoted} == {
        f"table1 / {method} / {subset} / accuracy" for method in ("MPFT", "NPR") for subset in ("Avg", "ADM")
    }


def test_markdown_columns_agree_and_pipes_are_escaped() -> None:
    rows = [{"run": "tam", "label": "a|b_c*", "quoted": "MPFT"}]
    text = FORMATS["md"](document_of(spec(rows=rows, banner=""), TAM, PUBLISHED))
    assert r"a\|b\_c\*" in text
    for block in text.split("\n\n"):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1


def test_latex_is_escaped_and_its_columns_agree() -> None:
    assert escape_latex("R&D 5% a_b {x} ± −1 †") == r"R\&D 5\% a\_b \{x\} $\pm$ $-$1 $^\dagger$"
    text = FORMATS["tex"](document_of(spec(title="50% & more_#1"), TAM + BASE, PUBLISHED))
    assert r"50\% \& more\_\#1" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    for body in re.findall(r"\\begin\{tabular\}\{(l(?:r+))\}(.*?)\\end", text, re.DOTALL):
        width = len(body[0])
        for line in body[1].split("\\midrule")[1].splitlines():
            if line.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == width - 1


class Balance(HTMLParser):
    """Counts cells a row and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.widths: list[int] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.outside += [value for key, value in named.items() if key in ("src", "href") and value]
        if tag == "tr":
            self.widths.append(0)
        if tag in ("td", "th"):
            self.widths[-1] += int(named.get("colspan") or 1)
        if tag not in ("meta", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_whole_and_stands_alone() -> None:
    settings = spec(title="a <b> & c", kind="runs", metric=["accuracy", "ap_fake"], quoted=None)
    settings["rows"] = [{"run": "tam", "group": "G"}]
    page = Balance()
    page.feed(FORMATS["html"](document_of(settings, TAM, [])))
    assert page.open == []
    assert page.outside == []
    assert set(page.widths) == {1 + 2 * 2 + 2}  # nothing is quoted


def test_protocols_stand_side_by_side_with_what_each_says() -> None:
    rows = [row | {"protocol": ""} for row in TAM]
    rows += [row | {"protocol": "batch=16", "value": row["value"] / 2} for row in TAM]
    wanted = [
        {"label": "whole set"},
        {"label": "batches", "protocol": "batch=16"},
        {"label": "last five", "checkpoint": "mean"},
    ]
    document = document_of(spec(kind="protocols", run="tam", rows=wanted, quoted=None), rows, [])
    _, lines = section(document)
    assert [line[0].split(" ")[0] for line in lines.values()] == ["93.0", "46.5", "93.0"]
    assert "Protocol of batches: batch=16." in document.footnotes
    assert {number.row: number.protocol for number in document.numbers} == {
        "whole set": "", "batches": "batch=16", "last five": "",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"no metrics of checkpoint 'best'.*protocol: {validation: NAME}"):
        document_of(spec(kind="protocols", run="tam", rows=[{"label": "x", "checkpoint": "best"}]), rows, [])
    with pytest.raises(UserError, match="no metrics of protocol 'batch=61'"):
        document_of(spec(kind="protocols", run="tam", rows=[{"label": "x", "protocol": "batch=61"}]), rows, [])


def test_a_table_under_one_protocol_says_so_once() -> None:
    rows = [row | {"protocol": "classes=mean"} for row in TAM + BASE]
    document = document_of(spec(protocol="classes=mean"), rows, PUBLISHED)
    assert [note for note in document.footnotes if note.startswith("Protocol")] == ["Protocol: classes=mean."]


def test_columns_without_any_content_are_left_out_but_for_the_csv() -> None:
    document = document_of(spec(quoted=None, cost=False), TAM + BASE, [])
    assert [column.name for column in document.sections[0].columns[1:]] == ["ours ± sd", "95 % interval", "seeds"]
    for ending in ("md", "tex", "html"):
        assert "delta" not in FORMATS[ending](document)
    header = FORMATS["csv"](document).partition("\n")[0].split(",")
    assert {"printed", "images_seen"} <= set(header)


def test_a_document_is_read_back_as_it_was_written() -> None:
    document = document_of(spec(), TAM + BASE, PUBLISHED)
    assert document_from_json(FORMATS["json"](document)) == replace(document, numbers=())


def test_a_kind_is_one_module_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = types.ModuleType("only_seeds")
    entry.only_seeds = lambda draft: [side_by_side(draft, [], "no column at all")]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "only_seeds", entry)
    kind = TableKind("only_seeds", "only_seeds", rows="run", columns="metric")
    monkeypatch.setitem(TABLE_KINDS.records, "only_seeds", kind)
    settings = table_settings(spec(kind="only_seeds", rows=["tam"], quoted=None))
    assert settings["rows"][0]["select"] == {"run": "tam"}
    (made,) = TABLE_KINDS.load("only_seeds")(Draft(read_spec(settings), None))  # type: ignore[arg-type]
    assert made.heading == "no column at all"
