"""Quoted, released and trained here: three columns that share nothing, and what they differ in, in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from conftest import ROOT
from test_tables import BASE, PUBLISHED, TAM, document_of, metrics, section, spec

from tellsign.errors import UserError
from tellsign.plan.recipes import Run, read_recipe
from tellsign.plan.released import released_notes, released_runs, training_images, view_text, without_released
from tellsign.schema.loading import build
from tellsign.schema.paper import Paper

ROWS = [
    {"run": "tam", "label": "MPFT", "quoted": "MPFT", "released": "file"},
    {"run": "base", "label": "direct"},
    {"label": "NPR", "quoted": "NPR", "released": "file"},
]
FILE = metrics("file", {0: 0.85})


def test_the_three_never_share_a_column() -> None:
    document = document_of(spec(rows=ROWS, comparable=True), TAM + BASE + FILE, PUBLISHED)
    names, lines = section(document)
    told = dict(zip(names[1:], lines["MPFT"], strict=True))
    assert told["accuracy quoted"] == "98.2" and told["accuracy ours ± sd"].startswith("93.0 ± ")
    assert told["accuracy released (95 % interval)"] == "85.0 (83.0–87.0)"
    deltas = [told[f"accuracy {name}"] for name in ("delta", "released − quoted", "ours − released")]
    assert deltas == ["−5.2", "−13.2", "+8.0"]
    label = next(name for name in lines if name.startswith("NPR"))
    assert dict(zip(names[1:], lines[label], strict=True))["accuracy released − quoted"] == "−3.6"
    assert label != "NPR" and any("the released checkpoint is scored" in note for note in document.footnotes)
    assert lines["direct"].count("–") == 5
    assert {"released", "released delta", "ours less released"} < {number.source for number in document.numbers}


def test_released_checkpoints_have_a_section_by_subset_only_where_rows_name_one() -> None:
    document = document_of(spec(rows=ROWS), TAM + BASE + FILE, PUBLISHED)
    by_subset = {one.heading: one for one in document.sections}
    shown = by_subset["Released checkpoints, by subset: accuracy (95 % interval)"]
    assert [row.cells[:2] for row in shown.rows] == [(name, "86.0 (84.0–88.0)") for name in ("MPFT", "NPR")]
    plain = document_of(spec(), TAM + BASE, PUBLISHED)
    assert not any("eleased" in column.name for one in plain.sections for column in one.columns)


def test_a_kind_without_such_a_column_says_so() -> None:
    with pytest.raises(UserError, match="kind methods has no column for released checkpoints"):
        document_of(spec(rows=ROWS, kind="methods"), TAM + BASE + FILE, PUBLISHED)


def test_differences_stand_only_where_the_images_are_the_same() -> None:
    fewer = [row | {"n_real": 50} for row in FILE]
    names, lines = section(document_of(spec(rows=ROWS), TAM + BASE + fewer, PUBLISHED))
    told = dict(zip(names[1:], lines["MPFT"], strict=True))
    assert "accuracy ours − released" not in told
    assert told["accuracy released − quoted"].startswith("n/a")  # another benchmark than the paper's


def paper(**change) -> tuple[Paper, list[Run]]:
    """A paper with one trained run, tested twice, and a row with a released checkpoint."""
    stored = {
        "paper": "p", "title": "P", "seeds": [3, 4], "base": {}, "runs": {},
        "tests": {"test": {"split": "t"}, "noise": {"split": "t", "perturbation": {"name": "noise"}}},
        "released": {"npr-progan": {"method": "released", "backbone": {"name": "npr", "weights": "none"},
                                    "weights": "npr-progan"}},
        "tables": {"one": {"rows": [{"run": "npr", "label": "NPR", "released": "npr-progan"}]}},
    } | change  # fmt: skip
    data = {"split": "sdv14", "subsets": ["sdv14"], "count": 800}
    recipe = read_recipe({"backbone": {"name": "npr", "weights": "none"}, "data": data, "epochs": 2}, "npr")
    return build(Paper, stored, "p.yaml"), [Run("p", "npr", recipe, (3, 4), ("test", "noise"))]


def test_a_released_checkpoint_is_tested_once_on_what_ours_is_tested_on_without_perturbation() -> None:
    (run,) = released_runs(*paper(), "p.yaml")
    assert (run.full_name, run.seeds, run.tests) == ("p/npr-progan", (3,), ("test",))
    assert run.recipe.inputs() == {} and run.recipe.data.split == "t"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"run": "npr", "released": "npr-progam"}, "Did you mean 'npr-progan'"),
        ({"quoted": "NPR", "released": "npr-progan"}, "no row of its tables names a run"),
    ],
)
def test_what_a_row_may_not_name(row, message) -> None:
    with pytest.raises(UserError, match=message):
        list(released_runs(*paper(tables={"one": {"rows": [row]}}), "p.yaml"))


def test_a_released_checkpoint_may_not_be_called_like_a_run() -> None:
    held, runs = paper(
        released={"npr": {"method": "released"}}, tables={"one": {"rows": [{"run": "npr", "released": "npr"}]}}
    )
    with pytest.raises(UserError, match="a run has this name too"):
        list(released_runs(held, runs, "p.yaml"))


def test_a_note_says_in_what_the_file_differs_from_ours() -> None:
    held, (ours,) = paper()
    (released,) = released_runs(held, [ours], "p.yaml")
    runs = {"npr": ours, "npr-progan": released}
    row = held.tables["one"]["rows"][0]
    notes = released_notes([row, row], lambda named: [runs[name] for name in named.values()], training_images(ROOT))
    assert len(notes) == 2 and notes[1] == (
        "NPR: the released file npr-progan was trained on ProGAN, 4 classes; ours on the split sdv14 (sdv14), 800 "
        "images a subset, 2 epochs. Both score images as they are, centre crops of 224."
    )


def test_views_in_words() -> None:
    resize = SimpleNamespace(mode="squash", size=256, filter="bilinear")
    held = {"bias": {"control": "jpeg"}, "resize_test": vars(resize), "crop_test": 224, "smaller": "black"}
    recipe = read_recipe({"method": "drct", "weights": "x", "epochs": 0} | held, "drct")
    assert view_text(recipe) == (
        "images squashed to 256 pixels (bilinear), centre crops of 224, smaller images on black, bias control jpeg"
    )


def test_without_released_nothing_of_them_is_left() -> None:
    rows = [{"run": "a", "released": "x"}, "b"]
    data = {"released": {"x": {}}, "tables": {"one": {"kind": "runs", "rows": rows}, "two": {"rows": ["c"]}}}
    kept = {"tables": {"one": {"kind": "runs", "rows": [{"run": "a"}, "b"]}, "two": {"rows": ["c"]}}}
    assert without_released(data) == kept and data["released"] == {"x": {}}
