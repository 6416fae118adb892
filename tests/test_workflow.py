"""The pipeline as a user runs it: the whole demo, reruns after edits. Network off where possible."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from pipeline import BIN, copy_of_tree, edited, environment, planned, shrink, snakemake

from tellsign.data.leaks import format_auc
from tellsign.system.parquet import read_rows

pytestmark = pytest.mark.slow
TABLE_FILES = ("csv", "md", "tex", "html", "json")


# ------------------------------------------------------------------------------------------------ the whole demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The demo at its real size, every table, figure and the report."""
    folder = copy_of_tree(tmp_path_factory.mktemp("demo"))
    snakemake(folder, "tables")
    used = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    (folder / "bytes_after_tables").write_text(str(used))
    snakemake(folder, "all")
    return folder


def test_every_paper_has_its_tables_figures_and_the_report(demo):
    for paper in ("mpft", "lol", "rescale", "tidy"):
        spec = yaml.safe_load((demo / "config" / "demo" / f"{paper}.yaml").read_text())
        for name in spec["tables"]:
            folder = demo / "results" / "demo" / paper / name
            assert {p.name for p in folder.glob("table.*")} == {f"table.{e}" for e in TABLE_FILES}
            for path in folder.glob("table.*"):
                assert path.suffix == ".csv" or "says nothing about the papers" in path.read_text(), path
        for name in spec["figures"]:
            drawn = {p.name for p in (demo / "results" / "demo" / paper / name).glob("figure.*")}
            assert drawn == {"figure.png", "figure.svg", "figure.csv", "figure.json"}
    assert (demo / "results" / "demo" / "report.html").stat().st_size > 100_000


def test_format_size_and_quality_do_not_give_the_label_away(demo):
    """A forest on width, height and JPEG quality; 70 against 70 images have a standard error of 0.05."""
    rows = read_rows(next((demo / "data" / "index").glob("demo.*.parquet"))).to_pylist()

    def facts(subset: str, part: str, label: int) -> np.ndarray:
        held = [r for r in rows if (r["subset"], r["part"], r["label"]) == (subset, part, label)]
        return np.array([[r["width"], r["height"], r["quality"]] for r in held])

    subsets = sorted({r["subset"] for r in rows})
    fakes = {name: facts(name, "test", 1) for name in subsets}
    found = format_auc(facts("ldm", "train", 0), facts("ldm", "train", 1), facts("ldm", "test", 0), fakes)
    assert all(0.35 < auc < 0.65 for auc in found.values()), found


def test_tables_say_what_file_sizes_reveal(demo):
    text = (demo / "results" / "demo" / "mpft" / "table1" / "table.md").read_text()
    assert re.search(r"Bits per pixel of demo's test files alone .* AUC .*ldm 0\.\d\d", text)


def test_it_stays_small(demo):
    assert int((demo / "bytes_after_tables").read_text()) < 250e6


def test_nothing_changed_nothing_to_do(demo):
    assert planned(demo, "all") == Counter()


def test_one_runs_rate_reruns_that_run_and_back_again_nothing(demo):
    cutout = "cutout: {mask: {name: cutout, ratio: [0.6, 0.8]}"
    slower = cutout.replace("{mask", "{optimiser: {lr: 2.0e-3}, mask", 1)
    with edited(demo / "config" / "demo" / "mpft.yaml", cutout, slower):
        assert planned(demo, "tables") == Counter(train=1, score=1, evaluate=1, table=2)  # table4 and claims
    assert planned(demo, "tables") == Counter()


def test_a_mask_ratio_of_mpft_reruns_nothing_of_lol(demo):
    with edited(
        demo / "config" / "demo" / "mpft.yaml", "ratio: [0.6, 0.8], patch_size: 12", "ratio: [0.5, 0.8], patch_size: 12"
    ):
        said = snakemake(demo, "-n", "tables")
    assert "data/train/mpft/tam-s0" in said
    assert "data/train/lol/" not in said


def test_a_comment_and_a_docstring_rerun_nothing(demo):
    source = demo / "src" / "tellsign" / "methods" / "masks" / "texture_aware.py"
    docstring = source.read_text().split('"""')[1]
    with edited(source, docstring, "Another text."), edited(source, "import torch\n\n", "import torch  # why\n\n"):
        assert planned(demo, "all") == Counter()


def test_an_edit_of_what_masks_share_reruns_the_trainings_that_mask(demo):
    helper = demo / "src" / "tellsign" / "methods" / "masks" / "draws.py"
    with edited(helper, "def uniform(", "SOMETHING_NEW = 1\n\n\ndef uniform("):
        counts = planned(demo, "tables")
    assert counts["train"] == 17 and counts["table"] > 5  # of 33: the others mask nothing
    assert not set(counts) & {"demo_generator", "index", "split", "crops", "pretrain", "train_head", "embed"}


def test_a_clone_with_the_data_has_nothing_to_do(demo, tmp_path):
    for name in ("src", "config", "workflow", "profiles", "Snakefile"):
        (shutil.copytree if (demo / name).is_dir() else shutil.copyfile)(demo / name, tmp_path / name)
    shutil.copytree(demo / "data", tmp_path / "data", copy_function=shutil.copyfile)  # new times, no .snakemake
    assert planned(tmp_path, "tables") == Counter()


def test_lint_is_clean(demo):
    done = subprocess.run(
        [str(BIN / "snakemake"), "--lint"], cwd=demo, env=environment(demo), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------------ errors before any job


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return shrink(copy_of_tree(tmp_path_factory.mktemp("small")))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--configfile", "config/folder.yaml"], "--config root=PATH"),
        (["--configfile", "config/folder.yaml", "--config", "root=/no/such/folder", "train=x"], "there is no folder"),
        (["--config", "on_bad=dorp"], "Did you mean 'drop'"),
        (["mpft-tabel1"], "Did you mean 'mpft-table1'"),
        (["--config", "papers=[config/demo/mpf.yaml]"], "Did you mean 'mpft.yaml'"),
    ],
)
def test_mistakes_are_said_before_any_job(small, arguments, words):
    said = snakemake(small, "tables", *arguments, check=False)
    assert words in said and "Traceback" not in said and "common.smk" not in said
    assert "rule " not in said
