"""`tellsign doctor`: what it counts, what it says, and its exit status."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import ROOT, demo_config, make_plan

from tellsign.__main__ import run
from tellsign.commands.amounts import Amount, counted, disk, duration
from tellsign.commands.budget import Cost, Costs
from tellsign.commands.doctor import Row, examine, headline, listing
from tellsign.commands.image_counts import ImageCounter, expected
from tellsign.commands.rates import Rate, Rates, read_rates
from tellsign.commands.room import full_disks
from tellsign.commands.supply import short_report, shortfalls
from tellsign.errors import UserError
from tellsign.plan.artifact import Artifact, ancestors
from tellsign.schema.config import Config
from tellsign.schema.data import Benchmark, Split
from tellsign.schema.loading import build
from tellsign.system.parquet import write_rows

MEASURED = {"basis": "measured", "source": "s"}
RATES = build(
    Rates,
    {
        "machines": {
            "one": {"what": "a machine", "rates": {"net": MEASURED | {"side": 10, "train": 5.0}}},
            "two": {"what": "another", "rates": {"npr": MEASURED | {"side": 10, "score": 2.0}}},
        },
        "networks": {"net": {"parameters": 1000, "dim": 4}},
        "pictures": {"known": {"megapixels": 0.5, "source": "s"}},
        "score_bytes": 10.0,
    },
    "rates",
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with this project's configurations, nothing made and no weights."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TELLSIGN_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


# ------------------------------------------------------------------------------------------------ sums and rates


def test_a_sum_with_an_unknown_part_says_so():
    assert counted(Amount(1234.0) + Amount(0.0)) == "1.23 k"
    assert counted(Amount(1234.0) + Amount(0.0, whole=False)) == "≥ 1.23 k"
    assert counted(Amount(0.0, whole=False)) == "?"
    assert disk(Amount(2.5e9)) == "2.5 GB" and disk(Amount(0)) == "–"
    assert [duration(Amount(h)) for h in (0.01, 0.5, 3.25, 1234.0)] == ["36 s", "30 min", "3.2 h", "1,234 h"]
    assert duration(Amount(0.2, whole=False)) == "unknown + 12 min"
    assert duration(Amount(0.0, whole=False)) == "unknown"


def test_the_rates_that_are_shipped_are_right_and_know_the_backbones():
    from tellsign.networks.backbones import BACKBONES

    rates = read_rates(ROOT / "config" / "rates.yaml")
    measured = rates.machines["core"].rates.keys() - {"caption/demo", "ground/demo"}
    assert measured == rates.networks.keys() <= BACKBONES.keys()  # what nobody has measured is unknown
    assert all(rate.source for machine in rates.machines.values() for rate in machine.rates.values())
    with pytest.raises(UserError, match="basis"):
        build(Rate, {"basis": "guessed", "source": "nobody"}, "rate")


# ------------------------------------------------------------------------------------------------ counts


def small(count: object = "all", **split: object) -> tuple[Config, dict[str, Artifact]]:
    """A configuration of one benchmark with counts, and the artifacts of its index and split."""
    counts = {"a": {"train": {"real": 30, "fake": 40}}, "b": {"train": {"fake": 5}}, "c": {"test": {"real": 1}}}
    benchmark = {"layout": "genimage", "roots": {"r": "/nowhere"}, "counts": counts, "page": "p"}
    spec = {"benchmark": "known", "part": "train", "count": count, "subsets": []} | split
    config = build(
        Config, {"name": "c", "papers": [], "benchmarks": {"known": benchmark}, "splits": {"train": spec}}, "config"
    )
    index = Artifact("index", "known", {}, raw={"r": "absent"}, roots={"r": "/nowhere"})
    return config, {"index": index, "split": Artifact("split", "train", spec, {"index": [("", index)]})}


def counter(config: Config, folder: Path) -> ImageCounter:
    return ImageCounter(config, RATES, folder, lambda _index: {})


def test_counts_are_expected_until_the_index_is_there(tmp_path):
    config, made = small()
    drawn = counter(config, tmp_path).drawn(made["split"])
    assert drawn.counts == {"a": (30, 40), "b": (5, 5)}  # b's reals are taken to be as many as its fakes
    assert drawn.images() == Amount(80) and drawn.images(["a"]) == Amount(70)
    assert drawn.images(count=20) == Amount(30)  # at most ten of each label
    assert drawn.images(["c"]) == Amount(0, whole=False)
    config, made = small(count=20)
    assert counter(config, tmp_path).drawn(made["split"]).counts == {"a": (10, 10), "b": (10, 10)}


def test_pretraining_knows_no_fakes():
    benchmark = build(Benchmark, {"layout": "photos", "counts": {"photos": {"pretrain": {"real": 9}}}}, "b")
    assert expected(benchmark, Split(benchmark="b", part="pretrain")) == {"photos": (9, 0)}


def test_an_index_is_believed_before_expectations_and_a_split_before_both(tmp_path):
    config, made = small()
    rows = [("a", 0, "ok"), ("a", 1, "ok"), ("a", 1, "corrupt"), ("b", 1, "ok")]
    columns = {"subset": [r[0] for r in rows], "part": ["train"] * 4, "label": [r[1] for r in rows]}
    sizes = {"id": ["x", "y", "z", "w"], "width": [100, 100, 1, 100], "height": [200, 200, 1, 200]}
    write_rows(tmp_path / made["index"].path, columns | sizes | {"status": [r[2] for r in rows]})
    drawn = counter(config, tmp_path).drawn(made["split"])
    assert drawn.counts == {"a": (1, 1), "b": (0, 1)} and drawn.unique == Amount(3)
    chosen = {"subset": ["a", "a", "b"], "label": [0, 1, 0], "id": ["x", "y", "x"]}
    write_rows(tmp_path / made["split"].path, chosen | {"width": [10] * 3, "height": [20] * 3})
    drawn = counter(config, tmp_path).drawn(made["split"])
    assert drawn.counts == {"a": (1, 1), "b": (1, 0)} and drawn.megapixels == pytest.approx(2e-4)
    assert drawn.unique == Amount(2)  # a photograph that two subsets share is stored once


def test_costs_of_a_run_follow_from_its_recipe(tmp_path):
    config, made = small()
    whole = {"store": "whole", "size": 0, "bias_size": 0, "resize": None}
    crops = Artifact("crops", "c", whole, {"split": [("", made["split"])]})
    recipe = {"data": {"subsets": ["a"], "count": 60}, "shots": None, "backbone": {"name": "net"}, "crop": 20}
    recipe |= {"keep": 2, "epochs": 4, "trainable": "all", "stop": None, "method": "image"}
    train = Artifact("train", "p/r-s0", recipe, {"split": [("", made["split"])], "inputs": [("crops", crops)]})
    needs = {
        "checkpoints": [("0", train), ("1", train)],
        "splits": [("t", made["split"])],
        "inputs": [("crops@t", crops)],
    }
    score = Artifact("score", "p/r", {"view": {"crop": 20}, "keep": 2}, needs)
    costs = Costs(counter(config, tmp_path), RATES, "one")
    assert costs.of(crops).bytes == Amount(80 * 500_000 * 3)
    probe = recipe | {"trainable": "head", "backbone": {"name": "net", "digest": "ab"}, "head": {"name": "linear"}}
    dim, needs = RATES.networks["net"].dim, train.needs
    assert costs.of(Artifact("train", "p/h-s0", probe, needs)).bytes == Amount(2 * 4 * (dim + 1))
    bank = probe | {"head": {"name": "nearest"}, "epochs": 0}
    assert costs.of(Artifact("train", "p/n-s0", bank, needs)).bytes == Amount(60 * 4 * dim)
    trained = costs.of(train)
    assert trained.trained == Amount(60 * 4) and trained.bytes == Amount(2 * 1000 * 4)
    assert trained.hours.value == pytest.approx(240 / (5.0 / 4) / 3600)  # twice the side: a quarter of the rate
    assert trained.scaled == {"net"}
    scored = costs.of(score)
    assert scored.scored == Amount(80 * 2 * 2) and scored.bytes == Amount(80 * 4 * 10)
    assert scored.unrated == {"score/net"} and not scored.hours.whole  # nobody has measured it: said, not invented


# ------------------------------------------------------------------------------------------------ rows and text


def test_what_tables_share_is_counted_once_and_what_is_made_takes_no_time(tmp_path):
    plan = make_plan(demo_config())
    artifacts = {f"mpft-{name}": plan.table("mpft", name) for name in ("table1", "table4")}
    costs = Costs(
        ImageCounter(plan.config, read_rates(ROOT / "config/rates.yaml"), tmp_path, lambda _: {}), RATES, "one"
    )
    rows, whole = examine(artifacts, costs, lambda _: [], tmp_path)
    assert [row.made for row in rows] == [0, 0]
    assert max(row.trainings for row in rows) < whole.trainings < sum(row.trainings for row in rows)
    train = next(a for a in ancestors([artifacts["mpft-table1"]]).values() if a.stage == "train")
    (tmp_path / train.path).mkdir(parents=True)
    rows, whole = examine(artifacts, costs, lambda _: [], tmp_path)
    assert rows[0].made == whole.made == 1
    (score,) = (a for a in ancestors([artifacts["mpft-table1"]]).values() if a.stage == "score" and train in a.inputs)
    (tmp_path / train.path).rmdir()
    (tmp_path / score.path).parent.mkdir(parents=True)
    (tmp_path / score.path).touch()
    scored, _ = examine(artifacts, costs, lambda _: [], tmp_path)
    assert scored[0].made == len(score.needs["checkpoints"])  # their work is done: they are not trained again
    assert (
        scored[0].cost.trained == rows[0].cost.trained
        and scored[0].to_write["data"].value < rows[0].to_write["data"].value
    )


def test_rows_stand_in_aligned_columns():
    cost = Cost(Amount(2e6), Amount(3e5), Amount(4e10, whole=False), Amount(12.0))
    lacking = Row("mpft-table1", ("/a", "/b"), (), ("clip",), False, 3, 10, cost)
    short = Row("a-rather-long-name-of-a-figure", (), ("x: 1 of 2",), (), True, 10, 10, Cost())
    text = listing([lacking, short], Row("all, shared ones once", trainings=10), "a machine")
    lines = text.splitlines()
    assert "lacks 2  lacks 1       3/10      2 M   300 k  ≥ 40 GB  12 h" in lines[2]
    assert "short 1  there        10/10        –       –        –  made" in lines[3]
    assert max(map(len, lines)) <= 100 and lines[-1] == "Times: a machine."
    assert "Times" not in listing([lacking], Row("all"), "")


def test_a_disk_that_is_too_small_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2e9))
    needs = {tmp_path: {"data": Amount(1.5e9), "cache": Amount(0.4e9)}, tmp_path / "weights": {"": Amount(0.2e9)}}
    (said,) = full_disks(needs)
    assert f"{tmp_path}/data/ and {tmp_path}/cache/ and {tmp_path}/weights/ will take 2.1 GB more" in said
    assert "2 GB are free" in said
    assert full_disks({tmp_path: {"data": Amount(1.9e9, whole=False)}}) == []


def test_the_first_line_sums_up():
    plan = make_plan(demo_config())
    rows = [Row("mpft-table1", folders=("/a",), weights=("w",)), Row("mpft-table3", done=True), Row("mpft-fig1")]
    text = headline("F", plan, rows, Row("all", trainings=5, made=1))
    assert text.startswith("F: 2 tables, 1 figure: 2 ready (1 made), 1 lack data, 1 lack weights (1 lack both).")
    assert "5 trainings" in text and "1 of them is made" in text


# ------------------------------------------------------------------------------------------------ the command


def test_nothing_is_missing_for_the_demo(project, capsys):
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("config/config.yaml: ") and " 0 lack data, 0 lack weights." in out
    assert out.endswith("Nothing is missing.\n") and "?" not in out and "≥" not in out


def test_values_are_read_as_snakemake_reads_them(project, capsys, caplog):
    assert run(["doctor", "--config", "caption_jobs=8"]) == 0
    assert run(["doctor", "--config", "caption_jobs=eight"]) == 2
    assert "caption_jobs: expected int, got 'eight'" in caplog.text
    assert run(["doctor", "--configfile", "config"]) == 2
    assert "config is a folder" in caplog.text
    assert run(["doctor", "--configfile", "config/papr.yaml"]) == 2
    assert "there is no file config/papr.yaml. Did you mean 'config/paper.yaml'? Known: config/" in caplog.text


def test_the_papers_without_data_are_explained(project, capsys):
    assert run(["doctor", "--configfile", "config/paper.yaml", "--config", f"data={project}/none"]) == 1
    out = capsys.readouterr().out
    assert " 0 ready, " in out.splitlines()[0]
    assert out.count(f"{project}/none/GenImage ") == 1 and "licence: CC BY-NC-SA 4.0" in out  # once, not a table
    assert out.count("\n  clip-vit-l14 (") == 1 and "hf download timm/vit_large_patch14_clip_224.openai" in out
    assert re.search(r"    tellsign weights --only .*clip-vit-l14 .*--fetch\n", out)
    assert "Disk: ≥ " in out and "No rate is known, so their time is not in: caption/blip" in out
    rows = out.split("\n\n")[1].splitlines()
    assert max(map(len, rows)) <= 100 and len(rows) == len(yaml_names("paper.yaml")) + 4


def yaml_names(configfile: str) -> list[str]:
    """Tables and figures of a configuration."""
    found = []
    for file in yaml.safe_load((ROOT / "config" / configfile).read_text())["papers"]:
        paper = yaml.safe_load((ROOT / file).read_text())
        found += [f"{paper['paper']}-{name}" for name in [*paper["tables"], *paper["figures"]]]
    return found


def test_a_table_narrows_it(project, capsys):
    arguments = ["doctor", "--configfile", "config/paper.yaml", "--table", "mpft-table1"]
    assert run(arguments) == 1
    out = capsys.readouterr().out
    assert out.startswith("config/paper.yaml: 1 table, 0 figures: 0 ready, 1 lack data, 1 lack weights (1 lack both).")
    assert "datasets/GenImage" in out and "ForenSynths/test" not in out and "blip2" not in out
    assert "mpft-table2" not in out and "all, shared" not in out
    assert "    tellsign weights --only clip-vit-l14 legacy-xception resnet50 swin-t --fetch\n" in out


def test_tables_may_be_named_one_by_one(project, capsys):
    assert run(["doctor", "--table", "mpft-table1", "--table", "lol-fig4"]) == 0
    assert capsys.readouterr().out.startswith("config/config.yaml: 1 table, 1 figure: 2 ready")


def test_a_wrong_question_names_the_near_miss(project, caplog):
    assert run(["doctor", "--table", "mpft-tabel1"]) == 2
    assert "Did you mean 'mpft-table1'" in caplog.text
    assert run(["doctor", "--machine", "cor"]) == 2
    assert "Did you mean 'core'" in caplog.text
    assert run(["doctor", "--configfile", "config/folder.yaml"]) == 2
    assert "root=PATH" in caplog.text


def test_a_folder_of_images_is_counted_before_it_is_indexed(project, capsys):
    for subset in ("one", "two"):
        for part in ("train", "test"):
            for label in ("0_real", "1_fake"):
                folder = project / "images" / subset / part / label
                folder.mkdir(parents=True)
                for number in range(3):
                    (folder / f"{number}.jpg").write_bytes(f"{folder}{number}".encode())
    (project / "images" / "photos").mkdir()
    config = ["--config", f"root={project}/images", "train=one"]
    assert run(["doctor", "--configfile", "config/folder.yaml", *config, "--table", "mpft-accuracy"]) == 0
    (row,) = (line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("mpft-accuracy"))
    assert row[1:3] == ["there", "there"]
    runs, epochs = int(row[3].partition("/")[2]), 15
    assert row[4:6] == [f"{6 * epochs * runs / 1000:.3g}", "k"]  # three of each label in one/train


def test_folders_that_hold_too_little_are_told(project, capsys):
    for place, count in (("train/ai", 9), ("train/nature", 8), ("val/ai", 3)):
        folder = project / "data" / "GenImage" / "ADM" / place
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.png").touch()
    assert run(["doctor", "--configfile", "config/paper.yaml", "--config", "data=data", "--table", "mpft-table1"]) == 1
    out = capsys.readouterr().out
    assert "genimage: midjourney, test: no images in a folder Midjourney or imagenet_midjourney" in out
    assert "genimage: adm, test, fake: 3 of 6,000" in out and "genimage: adm, test, real: 0 of 6,000" in out
    assert out.count("genimage from https://github.com/GenImage-Dataset/GenImage") == 1 and "1 lack data" in out


def test_fewer_images_than_a_split_takes_are_told_though_the_benchmark_only_warns(project, capsys):
    for label, count in (("ai", 9), ("nature", 480)):
        folder = project / "data" / "GenImage" / "ADM" / "val" / label
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.png").touch()
    (project / "data" / "photos").mkdir()
    flags = ["--configfile", "config/paper-small.yaml", "--config", "data=data", "--table", "rescale-fig5"]
    assert run(["doctor", *flags]) == 1
    out = capsys.readouterr().out
    assert "genimage: adm, test, fake: 9, of which split genimage-test takes 480" in out
    assert "adm, test, real" not in out
    assert "photos: pretrain: no images in data/photos" in out and "Nothing is missing" not in out


def test_an_index_that_holds_too_little_is_told_until_the_split_is_there(tmp_path, monkeypatch):
    config, made = small(count=62)
    rows = [("a", 0, i) for i in range(30)] + [("a", 1, i) for i in range(39)] + [("a", 1, 0)]  # one twice
    columns = {"subset": [r[0] for r in rows], "part": ["train"] * 70, "label": [r[1] for r in rows]}
    columns |= {"id": [str(r[2]) for r in rows], "width": [9] * 70, "height": [9] * 70, "status": ["ok"] * 70}
    write_rows(tmp_path / made["index"].path, columns)
    monkeypatch.chdir(tmp_path)
    there: Any = SimpleNamespace(config=config)
    assert shortfalls(there, counter(config, Path()), made["split"]) == [
        "known: a, train, real: 30, of which split train takes 31",
        "known: a, train, fake: 39 of 40",
        "known: b, train: no images in a folder b",
    ]
    write_rows(tmp_path / made["split"].path, {"subset": ["a"]})
    assert shortfalls(there, counter(config, Path()), made["split"]) == []


def test_what_is_absent_is_told_elsewhere_and_only_pages_are_named(tmp_path):
    config, made = small()
    there: Any = SimpleNamespace(config=config)
    assert shortfalls(there, counter(config, tmp_path), made["split"]) == []
    text = short_report(["known: a, train, real: 1, of which split s takes 2"], config.benchmarks)
    assert "Get known from p (licence: not stated)" in text and "lower the splits' `count`" in text


def test_weights_that_are_wrong_are_explained_like_missing_ones(project, capsys):
    place = project / "weights" / "clip-vit-l14"
    place.mkdir(parents=True)
    (place / "open_clip_model.safetensors").write_bytes(b"something else")
    (project / "weights" / "lock.json").write_text("no JSON")
    assert run(["doctor", "--configfile", "config/paper.yaml", "--table", "mpft-table1"]) == 1
    assert "is damaged" in capsys.readouterr().out


def test_the_doctor_works_without_torch():
    code = "import sys, tellsign.commands.doctor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}).returncode == 0
