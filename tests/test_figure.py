import csv
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from tellsign.data.features import Features
from tellsign.detectors import build as detectors
from tellsign.errors import UserError
from tellsign.evaluation.metrics import COMPARISONS, METRICS
from tellsign.results.figures.drawing import Inputs
from tellsign.results.figures.networks import Networks
from tellsign.schema.figures import figure_settings
from tellsign.stages import figure
from tellsign.system.parquet import read_rows, write_rows

COLUMNS = [
    "paper",
    "run",
    "seed",
    "checkpoint",
    "epoch",
    "epochs",
    "benchmark",
    "subset",
    "perturbation",
    "threshold_rule",
    "metric",
    "value",
]


def metrics_file(folder, run, rows, paper="mpft"):
    """Rows of (seed, checkpoint, epoch, benchmark, subset, perturbation, metric, value)."""
    full = [(paper, run, s, c, e, 1, b, sub, p, "0.5", m, v) for s, c, e, b, sub, p, m, v in rows]
    path = folder / f"{run}.parquet"
    write_rows(path, dict(zip(COLUMNS, map(list, zip(*full, strict=True)), strict=True)))
    return path


def plain_rows(values, metric="accuracy"):
    """Last epoch of a run: {seed: {subset: value}}."""
    return [
        (seed, "last", 3, "demo", subset, "none", metric, value)
        for seed, held in values.items()
        for subset, value in held.items()
    ]


def draw(tmp_path, spec, metrics=(), **inputs):
    given = {"checkpoints": {}, "encoders": {}, "features": {}, "splits": {}, "crops": {}, "device": "cpu"} | inputs
    settings = figure_settings({"paper": "mpft", "name": "test", **spec})
    figure.main(settings=settings, metrics=list(metrics), out=tmp_path / "out", **given)
    with (tmp_path / "out" / "figure.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_training_bars_show_the_mean_and_the_spread_of_the_kept_epochs(tmp_path):
    files = []
    for run, value in (("on-ldm", 0.9), ("on-fsq", 0.6)):
        rows = [(0, "mean", 3, "demo", "mean", "none", metric, value) for metric in ("accuracy", "ap_fake")]
        path = metrics_file(tmp_path, run, rows)
        table = read_rows(path)
        write_rows(path, table.to_pydict() | {"spread": [0.02, 0.01]})
        files.append(path)
    recipes = {"on-ldm": {"data": {"subsets": ["ldm"]}}, "on-fsq": {"data": {"subsets": ["fsq"]}}}
    spec = {
        "kind": "training_bars",
        "metric": ["accuracy", "ap_fake"],
        "rows": [{"grid": "on", "field": "data.subsets"}],
        "recipes": recipes,
    }
    rows = draw(tmp_path, spec, files)
    assert [(r["trained_on"], r["metric"], float(r["value"]), float(r["sd"])) for r in rows] == [
        ("ldm", "accuracy", pytest.approx(90), pytest.approx(2)),
        ("ldm", "ap_fake", pytest.approx(90), pytest.approx(1)),
        ("fsq", "accuracy", pytest.approx(60), pytest.approx(2)),
        ("fsq", "ap_fake", pytest.approx(60), pytest.approx(1)),
    ]
    assert "over the kept epochs" in (tmp_path / "out" / "figure.svg").read_text()


def two_runs(tmp_path):
    direct = {0: {"ldm": 0.9, "fsq": 0.5, "mean": 0.7}, 1: {"ldm": 1.0, "fsq": 0.7, "mean": 0.85}}
    return [
        metrics_file(tmp_path, "direct", plain_rows(direct)),
        metrics_file(tmp_path, "tam", plain_rows({0: {"ldm": 1.0, "fsq": 0.9, "mean": 0.95}})),
    ]


def test_bars_are_means_and_deviations_over_seeds_in_percent(tmp_path):
    spec = {
        "kind": "bars",
        "metric": "accuracy",
        "rows": [{"label": "direct", "run": "direct"}, {"label": "TAM", "run": "mpft/tam"}],
    }
    rows = draw(tmp_path, spec, two_runs(tmp_path))
    assert [(r["bar"], r["tested_on"], r["value"], r["seeds"]) for r in rows] == [
        ("direct", "ldm", "95", "2"),
        ("direct", "fsq", "60", "2"),
        ("direct", "mean", "77.5", "2"),
        ("TAM", "ldm", "100", "1"),
        ("TAM", "fsq", "90", "1"),
        ("TAM", "mean", "95", "1"),
    ]
    assert float(rows[0]["sd"]) == pytest.approx(np.std([90, 100], ddof=1)) and rows[3]["sd"] == ""
    made = ["figure.csv", "figure.json", "figure.png", "figure.svg", "files.sha256"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == made
    svg = (tmp_path / "out" / "figure.svg").read_text()
    assert "mean of 1 to 2 seeds; whiskers are ± one standard deviation" in svg


def test_heat_map_has_a_cell_for_every_pair(tmp_path):
    spec = {
        "kind": "heat_map",
        "rows": [
            {"panel": "direct", "train": "ldm", "run": "direct"},
            {"panel": "TAM", "train": "ldm", "run": "tam"},
        ],
        "subsets": ["fsq"],
        "mean": False,
    }
    rows = draw(tmp_path, spec, two_runs(tmp_path))
    assert [(r["panel"], r["trained_on"], r["tested_on"], r["value"]) for r in rows] == [
        ("direct", "ldm", "fsq", "60"),
        ("TAM", "ldm", "fsq", "90"),
    ]


def test_ratio_curve_takes_its_places_from_the_grids_recipes(tmp_path):
    recipes = {f"ratio-{low}": {"mask": {"ratio": [low, low + 0.2]}} for low in (0.6, 0.2)}
    paths = [
        metrics_file(tmp_path, run, plain_rows({0: {"mean": recipe["mask"]["ratio"][0]}}))
        for run, recipe in recipes.items()
    ]
    spec = {
        "kind": "ratio_curve",
        "x_label": "mask ratio",
        "rows": [{"label": "TAM", "grid": "ratio", "field": "mask.ratio"}],
        "recipes": recipes,
    }
    rows = draw(tmp_path, spec, paths)
    assert [(float(r["x"]), float(r["value"])) for r in rows] == [
        (pytest.approx(0.3), 20),
        (pytest.approx(0.7), 60),
    ]
    spec["rows"][0]["field"] = "mask.rate"
    with pytest.raises(UserError, match=r"no field 'mask.rate': at 'rate' it has ratio"):
        draw(tmp_path, spec, paths)


def test_robustness_curve_reads_one_perturbation_a_tick(tmp_path):
    rows = [
        (0, "last", 3, "demo", "mean", mark, "ap_fake", value)
        for mark, value in (("none", 1.0), ("jpeg75", 0.75), ("jpeg25", 0.25))
    ]
    panel = {
        "title": "JPEG",
        "x_label": "quality",
        "severities": {"none": "none", 75: "jpeg75", 25: "jpeg25"},
    }
    spec = {"kind": "robustness_curve", "rows": [{"label": "TIDY", "run": "tidy"}], "panels": [panel]}
    found = draw(tmp_path, spec, [metrics_file(tmp_path, "tidy", rows)])
    assert [(r["x"], r["value"]) for r in found] == [("none", "100"), ("75", "75"), ("25", "25")]


def test_steps_curve_counts_steps_by_the_recipe(tmp_path):
    rows = [
        (seed, "epoch", epoch, "demo", subset, "none", "accuracy", 0.5 + epoch / 10 + seed / 50)
        for seed in (0, 1)
        for epoch in (1, 2)
        for subset in ("ldm", "mean")
    ]
    spec = {
        "kind": "steps_curve",
        "rows": [{"label": "direct", "run": "direct"}],
        "panels": [{"title": "all"}, {"subset": "ldm"}],
        "axis": "step",
        "recipes": {"direct": {"data": {"count": 90, "subsets": ["ldm"]}, "batch_size": 4}},
    }
    found = draw(tmp_path, spec, [metrics_file(tmp_path, "direct", rows)])
    assert [(r["panel"], r["x"], r["value"]) for r in found] == [
        ("all", "23", "61"),
        ("all", "46", "71"),
        ("ldm", "23", "61"),
        ("ldm", "46", "71"),
    ]
    spec["recipes"]["direct"]["data"]["count"] = "all"
    with pytest.raises(UserError, match="say axis: epoch"):
        draw(tmp_path, spec, [tmp_path / "direct.parquet"])


def test_what_is_left_open_is_named(tmp_path):
    other = (0, "last", 3, "forensynths", "mean", "none", "accuracy", 0.6)
    rows = [*plain_rows({0: {"mean": 0.5}}), other]
    paths = [metrics_file(tmp_path, "direct", rows)]
    spec = {"kind": "bars", "metric": "accuracy", "rows": [{"label": "direct", "run": "direct"}]}
    with pytest.raises(UserError, match=r"differ in benchmark \('demo', 'forensynths'\)"):
        draw(tmp_path, spec, paths)
    assert draw(tmp_path, spec | {"benchmark": "forensynths"}, paths)[0]["value"] == "60"
    with pytest.raises(UserError, match=r"no metrics with metric: acuracy. Did you mean 'accuracy'"):
        draw(tmp_path, spec | {"metric": "acuracy"}, paths)
    with pytest.raises(UserError, match=r"unknown run among the metrics 'mpft/drect'. Did you mean"):
        draw(tmp_path, spec | {"rows": [{"label": "", "run": "drect"}]}, paths)
    row = spec["rows"][0] | {"benchmark": "demo"}  # a row may say otherwise than the figure
    assert draw(tmp_path, spec | {"benchmark": "forensynths", "rows": [row]}, paths)[0]["value"] == "50"


def test_equal_metrics_give_equal_files(tmp_path):
    spec = {"kind": "bars", "metric": "accuracy", "rows": [{"label": "direct", "run": "direct"}]}
    paths = two_runs(tmp_path)
    held = []
    for _ in range(2):
        draw(tmp_path, spec, paths)
        held.append([(tmp_path / "out" / f"figure.{kind}").read_bytes() for kind in ("png", "svg", "csv")])
    assert held[0] == held[1]


@pytest.mark.parametrize("metric", [*METRICS, *COMPARISONS])
def test_every_metric_is_drawn_with_its_words_in_its_unit(tmp_path, metric, monkeypatch):
    drawn = []
    png_bytes = figure.png_bytes
    monkeypatch.setattr(figure, "png_bytes", lambda page: drawn.append(page) or png_bytes(page))
    paths = [metrics_file(tmp_path, "direct", plain_rows({0: {"mean": 0.5}}, metric))]
    draw(tmp_path, {"kind": "bars", "metric": metric, "rows": [{"label": "direct", "run": "direct"}]}, paths)
    axes = drawn[0].axes[0]
    expected = {
        "accuracy": "accuracy (%)", "accuracy_real": "accuracy on reals (%)", "accuracy_fake": "accuracy on fakes (%)",
        "accuracy_oracle": "accuracy, oracle threshold (%)", "ap_fake": "AP, fake positive (%)",
        "ap_real": "AP, real positive (%)", "auc": "ROC AUC (%)", "ece": "calibration error (%)",
        "accuracy_gain": "gain in accuracy (%)", "mcnemar_p": "p (McNemar)",
    }[metric]  # fmt: skip
    assert axes.get_ylabel() == expected
    shown = 0.5 if metric == "mcnemar_p" else 50
    assert axes.get_ylim() == (0, pytest.approx(1.2 * shown))


def test_figures_of_metrics_do_not_wait_for_torch(tmp_path):
    paths = two_runs(tmp_path)
    spec = {"kind": "bars", "paper": "mpft", "metric": "accuracy", "rows": [{"label": "direct", "run": "direct"}]}
    code = (
        "import sys; from tellsign.__main__ import run\n"
        f"spec = {json.dumps(figure_settings(spec))!r}\n"
        "done = run(['figure', '--settings', spec, '--checkpoints', '--encoders', '--features', '--splits', '--crops',"
        f" '--metrics', {str(paths[0])!r}, '--out', {str(tmp_path / 'out')!r}])\n"
        "sys.exit(done or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------------------------------------ networks

SIDE = 12
IMAGES = {
    "r0": ("ldm", 0),
    "r1": ("ldm", 0),
    "f0": ("ldm", 1),
    "f1": ("ldm", 1),
    "g0": ("fsq", 1),
    "g1": ("fsq", 1),
}


class Stand(nn.Module):
    """A backbone whose map is the image, in [0, 1], and whose features are its means."""

    size = None

    def preprocess(self, pixels):
        return pixels.float() / 255

    def with_map(self, x):
        return x.mean(dim=(2, 3)), x

    def feature_map(self, x):
        return x[:, :, ::2, ::2]

    def forward(self, x):
        return x.flatten(1)


def image_files(tmp_path):
    """Crops and split of six images; the reals are shared by both subsets, image f0 has diagonal period 4."""
    pixels = np.random.default_rng(0).integers(0, 256, (len(IMAGES), SIDE, SIDE, 3)).astype(np.uint8)
    steps = np.arange(SIDE)
    pixels[2] = (60 * ((steps[:, None] + 0 * steps[None]) % 4))[..., None]
    crops = tmp_path / "crops"
    crops.mkdir()
    np.save(crops / "pixels.npy", pixels.reshape(-1, 3))
    sides, offsets = [SIDE] * len(IMAGES), [i * SIDE * SIDE for i in range(len(IMAGES))]
    write_rows(crops / "images.parquet", {"id": list(IMAGES), "height": sides, "width": sides, "offset": offsets})
    rows = [(s, label, name, int(name[1])) for name, (s, label) in IMAGES.items()]
    rows += [("fsq", 0, name, int(name[1])) for name in ("r1", "r0")]
    split = tmp_path / "split.parquet"
    columns = zip(("subset", "label", "id", "rank"), map(list, zip(*rows, strict=True)), strict=True)
    write_rows(split, dict(columns))
    return {"crops": {"test": crops}, "splits": {"test": split}}, pixels


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkpoint folder of a linear detector: logit = mean of red - mean of green."""

    def head(features):
        return features[:, 0] - features[:, 1]

    detector = SimpleNamespace(backbone=Stand(), head=head)
    monkeypatch.setattr(detectors, "load_detector", lambda folder, device, base=None: detector)
    monkeypatch.setattr(detectors, "load_encoder", lambda folder, device: detector.backbone)
    made = tmp_path / "tam-s0.0123456789ab"
    made.mkdir()
    (made / "recipe.yaml").write_text(yaml.safe_dump({"crop": SIDE}))
    return made


def test_a_frozen_backbone_is_read_from_where_the_plan_says(tmp_path, folder, monkeypatch):
    base, seen, load = {"name": "n", "weights": "w", "digest": "d"}, [], detectors.load_detector
    monkeypatch.setattr(detectors, "load_detector", lambda *given: seen.append(given[2]) or load(*given))
    inputs, _ = image_files(tmp_path)
    spec = {"name": "test", "kind": "cam", "split": "test", "crop": SIDE, "networks": {"tam": {"backbone": base}}}
    Networks(spec, Inputs(checkpoints={"tam": folder}, **inputs, device="cpu")).detector({"run": "tam"})
    assert seen == [base]


def test_cam_is_the_closed_form_of_a_linear_detector(tmp_path, folder):
    inputs, pixels = image_files(tmp_path)
    spec = {"kind": "cam", "rows": [{"label": "TAM", "run": "tam"}], "split": "test", "crop": SIDE}
    rows = draw(tmp_path, spec | {"target": "fake"}, checkpoints={"tam": folder}, **inputs)
    order = list(dict.fromkeys(r["id"] for r in rows))
    assert order == ["r0", "r1", "f0", "g0"]  # two different reals, the first fake of each subset
    expected = np.maximum(pixels[..., 0].astype(float) - pixels[..., 1], 0)[[0, 1, 2, 4]]
    found = np.array([float(r["share"]) for r in rows]).reshape(4, SIDE, SIDE)
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-6)


def test_similarity_map_finds_the_period_of_an_image(tmp_path, folder):
    inputs, _ = image_files(tmp_path)
    spec = {
        "kind": "similarity_map",
        "network": {"encoder": "xception"},
        "split": "test",
        "crop": SIDE,
        "patch": 4,
        "patches": 9,
        "images": 1,
        "subsets": ["ldm"],
    }
    rows = draw(tmp_path, spec, encoders={"xception": folder}, **inputs)
    fake = np.array([[float(r[f"with_{i}"]) for i in range(9)] for r in rows if r["class"] == "ldm"])
    assert "The encoder itself subsamples by 2 px" in (tmp_path / "out" / "figure.svg").read_text()
    for i in range(9):
        for j in range(9):
            assert (fake[i, j] > 0.99999) == ((i - j) % 4 == 0)
    with pytest.raises(UserError, match="need a crop of 13 pixels; crop is 12"):
        draw(tmp_path, spec | {"patches": 10}, encoders={"xception": folder}, **inputs)


def test_tsne_draws_every_class_once(tmp_path, folder):
    inputs, _ = image_files(tmp_path)
    spec = {
        "kind": "tsne",
        "rows": [{"label": "a", "run": "tam"}],
        "split": "test",
        "crop": SIDE,
        "per_class": 2,
    }
    rows = draw(tmp_path, spec, checkpoints={"tam": folder}, **inputs)
    assert [(r["class"], r["id"]) for r in rows] == [
        ("real", "r0"),
        ("real", "r1"),
        ("ldm", "f0"),
        ("ldm", "f1"),
        ("fsq", "g0"),
        ("fsq", "g1"),
    ]
    with pytest.raises(UserError, match="asks for 3 real"):
        draw(tmp_path, spec | {"per_class": 3}, checkpoints={"tam": folder}, **inputs)
    with pytest.raises(UserError, match="network of it needs 12"):
        draw(tmp_path, spec | {"crop": 8}, checkpoints={"tam": folder}, **inputs)


def test_random_crops_lie_within_images_that_are_as_large_and_are_equal_in_every_panel(tmp_path, folder, monkeypatch):
    seen = []
    monkeypatch.setattr("tellsign.evaluation.explain.tsne", lambda x, seed: seen.append(x) or x[:, :2])
    inputs, pixels = image_files(tmp_path)
    split = read_rows(inputs["splits"]["test"]).to_pydict()
    sides = [SIDE - 5 * (name in ("r0", "g0")) for name in split["id"]]  # they have no crop of 8 pixels
    write_rows(inputs["splits"]["test"], split | {"height": [SIDE] * len(sides), "width": sides})
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"crop": 4}))
    panels = [{"label": label, "run": "tam"} for label in "ab"]
    spec = {"kind": "tsne", "rows": panels, "split": "test", "crop": 8, "crop_at": "random", "per_class": 1}
    rows = draw(tmp_path, spec, checkpoints={"tam": folder}, **inputs)
    assert [row["id"] for row in rows] == ["r1", "f0", "g1"] * 2 and np.array_equal(*seen)
    centres = [(y, x) for y in range(2, SIDE - 5) for x in range(2, SIDE - 5)]  # 2 px within a crop at 0 to 4
    for features, number in zip(seen[0], (1, 2, 5), strict=True):
        cut = (255 * features.reshape(3, 4, 4)).round().transpose(1, 2, 0)
        assert any(np.array_equal(cut, pixels[number][y : y + 4, x : x + 4]) for y, x in centres)
    assert "Random crops of 8 px" in (tmp_path / "out" / "figure.svg").read_text()


def test_tsne_of_cached_features_uses_the_runs_choices(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("tellsign.evaluation.explain.tsne", lambda x, seed: seen.append(x) or x[:, :2])
    inputs, _ = image_files(tmp_path)
    image, text = torch.rand(6, 4), torch.rand(6, 4)
    made = tmp_path / "features"
    made.mkdir()
    empty = torch.zeros(0, 4)
    Features(tuple(reversed(IMAGES)), image, text, empty, empty, torch.zeros(0, dtype=torch.int64)).save(made)
    choices = {"use": "global", "weights": [1.0, 1.0], "normalise": False, "no_object": "zero"}
    spec = {
        "kind": "tsne",
        "rows": [{"label": "|I − T|", "run": "tidy/both"}],
        "split": "test",
        "per_class": 2,
        "recipes": {"both": {"method": "features", "discrepancy": choices}},
    }
    draw(tmp_path, spec, features={"both@test": made}, splits=inputs["splits"])
    np.testing.assert_allclose(seen[0], (image - text).abs().flip(0)[[0, 1, 2, 3, 4, 5]], rtol=1e-6)


def test_similarity_of_image_and_caption_is_the_cosine_of_their_embeddings(tmp_path):
    inputs, _ = image_files(tmp_path)
    image = torch.tensor([[1.0, 0.0]] * 6)
    angle = torch.arange(6) / 6
    text = 3 * torch.stack([angle.cos(), angle.sin()], 1)
    made = tmp_path / "features"
    made.mkdir()
    empty = torch.zeros(0, 2)
    Features(tuple(IMAGES), image, text, empty, empty, torch.zeros(0, dtype=torch.int64)).save(made)
    spec = {"kind": "image_text_similarity", "split": "test", "per_class": 2}
    spec["rows"] = [{"label": "GAN", "run": "both", "split": "other", "subsets": ["fsq"]}]
    rows = draw(tmp_path, spec, features={"both@other": made}, splits={"other": inputs["splits"]["test"]})
    for row in rows:
        expected = np.cos(list(IMAGES).index(row["id"]) / 6)
        assert float(row["cosine"]) == pytest.approx(expected, abs=1e-6)
    assert [(r["panel"], r["class"]) for r in rows] == [("GAN", "real")] * 2 + [("GAN", "fsq")] * 2


def test_cam_can_show_only_real_or_only_generated_images(tmp_path, folder):
    inputs, _ = image_files(tmp_path)
    spec = {"kind": "cam", "rows": [{"label": "TAM", "run": "tam"}], "split": "test", "crop": SIDE}
    for real, fake, wanted in ((2, 0, ["r0", "r1"]), (0, 1, ["f0", "g0"])):
        rows = draw(tmp_path, spec | {"real": real, "fake": fake}, checkpoints={"tam": folder}, **inputs)
        assert list(dict.fromkeys(r["id"] for r in rows)) == wanted


def test_missing_inputs_are_named(tmp_path, folder):
    inputs, _ = image_files(tmp_path)
    spec = {"kind": "cam", "rows": [{"label": "TAM", "run": "tam"}], "split": "test", "crop": SIDE}
    with pytest.raises(UserError, match="needs --splits"):
        draw(tmp_path, spec, checkpoints={"tam": folder}, crops=inputs["crops"])
    with pytest.raises(UserError, match="needs --crops"):
        draw(tmp_path, spec, checkpoints={"tam": folder}, splits=inputs["splits"])
    with pytest.raises(UserError, match="unknown run among the checkpoints 'tam'"):
        draw(tmp_path, spec, **inputs)
    with pytest.raises(UserError, match="needs metrics"):
        draw(tmp_path, {"kind": "bars", "rows": []})
