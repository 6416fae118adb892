import importlib
import itertools
import json
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

from tellsign.errors import UserError
from tellsign.results.figures.curves import Curve, CurvePanel
from tellsign.results.figures.files import csv_text, png_bytes, svg_bytes
from tellsign.results.figures.kinds import FIGURE_KINDS
from tellsign.results.figures.page import WIDTH
from tellsign.schema.figures import figure_settings

FIGURES = {kind: importlib.import_module(record.module).draw for kind, record in FIGURE_KINDS.items()}

# the demo's, at their full number
GENERATORS = [
    "ldm",
    "vae_deconv",
    "ae_nearest",
    "sr_bilinear",
    "sr_shuffle",
    "fsq",
    "layout_gan",
    "pixel_ddpm",
]
WORDS = {
    "title": "Accuracy of detectors trained on one generator and tested on every other one of the eight",
    "note": "Last epoch, mean of 3 seeds; bands are ± one standard deviation over seeds. " * 2,
    "banner": "Demo: this exercises the pipeline; it says nothing about the papers' claims.",
}


def lines(count, points, seeds=True):
    x = np.arange(points, dtype=float)
    sd = np.full(points, 1.0 if seeds else np.nan)
    return tuple(Curve(f"method number {i}", x + 1, 60 + 5 * i + x, sd) for i in range(count))


def arguments(kind):
    """Made data of the demo's size for each kind."""
    draw = np.random.default_rng(0)
    square = 50 + 50 * draw.random((8, 8))
    similar = np.eye(24) + 0.5 * (1 - np.eye(24))
    names = ["real", *GENERATORS]
    return {
        "heat_map": {
            "panels": {"direct fine-tuning": square, "MPFT": square},
            "train": GENERATORS,
            "test": GENERATORS,
            "metric": "accuracy",
        },
        "ratio_curve": {"panels": [CurvePanel("", "mask ratio", "accuracy (%)", lines(3, 6))] * 2},
        "robustness_curve": {
            "panels": [CurvePanel("noise", "σ", "AP (%)", lines(5, 4), ("none", "0.001", "0.005", "0.01"))] * 3
        },
        "steps_curve": {"panels": [CurvePanel("mean", "training step", "accuracy (%)", lines(3, 10, False))] * 3},
        "bars": {
            "values": 100 * draw.random((3, 9)),
            "errors": draw.random((3, 9)),
            "series": ["only text", "only image", "both"],
            "groups": [*GENERATORS, "mean"],
            "metric": "ap_fake",
        },
        "training_bars": {
            "values": 100 * draw.random((2, 8)),
            "errors": draw.random((2, 8)),
            "series": ["accuracy", "AP, fake positive"],
            "groups": GENERATORS,
            "metric": "percent",
        },
        "image_text_similarity": {
            "panels": {name: {"real": draw.random(50), "fake": draw.random(50)} for name in "abc"},
            "x_label": "cosine of image and caption",
        },
        "tsne": {"panels": {f"({k}) features": {n: draw.random((9, 2)) for n in names} for k in "abcd"}},
        "cam": {
            "images": draw.integers(0, 256, (9, 24, 24, 3)).astype(np.uint8),
            "maps": {"direct fine-tuning": draw.random((9, 6, 6)), "MPFT": draw.random((9, 6, 6))},
            "names": names,
            "scores": {"direct fine-tuning": draw.random(9), "MPFT": draw.random(9)},
        },
        "similarity_map": {
            "panels": dict.fromkeys(names, similar),
            "offsets": dict.fromkeys(names, np.linspace(1, 0, 24)),
        },
    }[kind]


def drawn(kind):
    return FIGURES[kind](**arguments(kind), **WORDS)


@pytest.mark.parametrize("kind", FIGURES)
def test_every_letter_is_inside_the_page_and_large_enough(kind):
    figure = drawn(kind)
    assert figure.get_size_inches()[0] == WIDTH and figure.get_size_inches()[1] < 11
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    assert min(t.get_fontsize() for t in figure.findobj(Text) if t.get_text()) >= 8


@pytest.mark.parametrize("kind", FIGURES)
def test_tick_labels_do_not_run_into_each_other(kind):
    for axes in drawn(kind).axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            shown = [t for t in labels if t.get_text() and t.get_rotation() == 0 and axes.axison]
            boxes = [t.get_window_extent() for t in shown if t.get_visible()]
            for a, b in itertools.pairwise(boxes):
                assert not a.overlaps(b)


@pytest.mark.parametrize("kind", FIGURES)
def test_plots_stay_clear_of_title_note_and_banner(kind):
    figure = drawn(kind)
    outside = [t.get_window_extent() for t in figure.texts]
    said = " ".join(t.get_text() for t in figure.texts)
    assert WORDS["banner"] in said and "one standard deviation" in said
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is None or not any(box.overlaps(words) for words in outside)


def test_equal_inputs_give_equal_bytes_whatever_the_users_style():
    first, again = drawn("heat_map"), arguments("heat_map")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None}):
        second = FIGURES["heat_map"](**again, **WORDS)
        assert png_bytes(second) == png_bytes(first)
        assert svg_bytes(second) == svg_bytes(first)
    again["panels"]["MPFT"][0, 0] -= 20
    assert svg_bytes(FIGURES["heat_map"](**again, **WORDS)) != svg_bytes(first)


def test_svg_holds_its_words_and_no_date():
    svg = svg_bytes(drawn("bars")).decode()
    assert "<dc:date>" not in svg and "http://www.w3.org/2000/svg" in svg
    assert WORDS["title"] in svg


def test_heat_map_writes_each_number_and_leaves_nan_empty():
    values = np.array([[99.96, np.nan], [50.04, 7.25]])
    figure = FIGURES["heat_map"](panels={"": values}, train=["a", "b"], test=["c", "d"], metric="accuracy")
    assert sorted(t.get_text() for t in figure.axes[0].texts) == ["100", "50.0", "7.2"]


def test_curve_draws_a_band_only_where_there_are_several_seeds():
    def bands(seeds):
        panel = CurvePanel("", "x", "y", lines(2, 4, seeds))
        return len(FIGURES["ratio_curve"](panels=[panel]).axes[0].collections)

    assert (bands(True), bands(False)) == (2, 0)


def test_log_axis_has_a_tick_at_every_volume():
    x = np.array([400.0, 800, 3200, 12800])
    panel = CurvePanel("", "training images", "accuracy (%)", (Curve("LoL", x, x / 200, x * np.nan),))
    axes = FIGURES["ratio_curve"](panels=[panel], log=True).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["400", "800", "3,200", "12,800"]


def test_csv_text_writes_ten_digits_and_nan_as_nothing():
    assert csv_text({"a": [1 / 3, np.float64("nan")], "b": ["x,y", 2]}) == 'a,b\n0.3333333333,"x,y"\n,2\n'
    with pytest.raises(ValueError):
        csv_text({"a": [1], "b": []})


def test_figure_settings_fills_defaults_and_names_near_misses():
    spec = figure_settings({"kind": "bars", "rows": [], "metric": "auc"})
    assert spec["metric"] == "auc" and spec["mean"] is True and spec["banner"] == ""
    with pytest.raises(UserError, match="Did you mean 'heat_map'"):
        figure_settings({"kind": "heatmap"})
    with pytest.raises(UserError, match=r"unknown key 'row'.*Did you mean 'rows'"):
        figure_settings({"kind": "bars", "row": []})
    with pytest.raises(UserError, match=r"figure '' \(bars\)\.rows\[0\]: unknown key 'lable'.*Did you mean 'label'"):
        figure_settings({"kind": "bars", "rows": [{"lable": "TAM"}]})
    with pytest.raises(UserError, match="'x_label' is missing"):
        figure_settings({"kind": "ratio_curve", "rows": []})


def test_severities_keep_their_order_through_json_with_sorted_keys():
    panel = {"severities": {"none": "none", 75: "jpeg-75", 25: "jpeg-25"}}
    spec = figure_settings({"kind": "robustness_curve", "rows": [], "panels": [panel]})
    again = figure_settings(json.loads(json.dumps(spec, sort_keys=True)))
    assert again == spec
    assert spec["panels"][0]["severities"] == [["none", "none"], ["75", "jpeg-75"], ["25", "jpeg-25"]]


def test_checking_a_figure_imports_neither_matplotlib_nor_torch_nor_numpy():
    code = (
        "import sys; from tellsign.schema.figures import figure_settings\n"
        "figure_settings({'kind': 'bars', 'rows': []})\n"
        "sys.exit(bool({'torch', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
