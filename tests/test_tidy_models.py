"""TIDY end to end through the rules, with BLIP-2, GLIP and CLIP of the real architectures, tiny and random.

The pictures are real photographs and real generated images where the corpus is there, else the demo's.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import yaml
from conftest import ROOT
from PIL import Image
from pipeline import copy_of_tree, planned, snakemake

from tellsign.data.features import Features
from tellsign.demo.camera import camera
from tellsign.demo.scenes import scene
from tellsign.system.parquet import read_rows

pytestmark = pytest.mark.slow
CORPUS = ROOT.parent / "shared" / "corpus" / "sd_v1"


def pictures(folder: Path, first: int, count: int) -> None:
    """``count`` pictures of each label, from number ``first`` on."""
    for number, label in enumerate(("0_real", "1_fake")):
        (folder / label).mkdir(parents=True)
        held = sorted((CORPUS / label).iterdir()) if CORPUS.is_dir() else []
        for i in range(first, first + count):
            if held:
                shutil.copyfile(held[i], folder / label / held[i].name)
            else:
                generator = np.random.default_rng([number, i])
                pixels = camera(scene(generator, 120)[0], generator)
                Image.fromarray(pixels).save(folder / label / f"{i}.png")


PAPER = {
    "paper": "tidy",
    "title": "TIDY, tiny",
    "seeds": [0],
    "annotate": {
        "default": {
            "clip": {"name": "open-clip", "weights": "models/clip"},
            "captioner": {"name": "blip2", "weights": "models/blip2", "max_new_tokens": 12},
            "grounder": {"name": "glip", "weights": "models/glip", "grammar": "demo", "min_side": 96, "max_side": 160},
            "threshold": 0.06,
        }
    },
    "base": {"method": "features", "data": {"subsets": ["tiny"]}, "epochs": 3, "batch_size": 8},
    "runs": {"both": {}},
    "tables": {"table1": {"title": "tiny", "kind": "subsets", "metric": "accuracy", "rows": [{"run": "both"}]}},
}
CONFIG = {
    "name": "tiny",
    "papers": ["config/tiny-tidy.yaml"],
    "benchmarks": {"folder": {"layout": "folder", "roots": {"images": "pictures"}}},
    "splits": {
        "train": {"benchmark": "folder", "part": "train", "count": 8},
        "test": {"benchmark": "folder", "part": "test", "count": 10},
    },
    "evaluate": {"resamples": 20},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    folder = copy_of_tree(tmp_path_factory.mktemp("tidy"))
    models = folder / "models"
    tiny_models.blip2(models / "blip2")
    tiny_models.glip(models / "glip")
    tiny_models.clip(models / "clip")
    for i, part in enumerate(("train", "test")):
        pictures(folder / "pictures" / "tiny" / part, 5 * i, 5)
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "config" / "tiny-tidy.yaml").write_text(yaml.safe_dump(PAPER))
    return folder


def made(folder: Path, stage: str) -> list[Path]:
    return sorted((folder / "data" / stage).iterdir())


def test_tidy_runs_through_the_rules_with_models_of_the_real_kind(tree):
    assert planned(tree, "tables", "--configfile", "config/tiny.yaml")["caption"] == 2
    snakemake(tree, "tables", "--configfile", "config/tiny.yaml")
    captions = [text for path in made(tree, "caption") for text in read_rows(path)["caption"].to_pylist()]
    assert len(captions) == 18 and len(set(captions)) > 4
    boxes = [row for path in made(tree, "ground") for row in read_rows(path).to_pylist()]
    assert any(row["found"] for row in boxes) and all(0 <= row["score"] <= 1 for row in boxes)
    features = [Features.load(path) for path in made(tree, "embed")]
    assert sum(len(f.object_row) for f in features) == sum(row["found"] for row in boxes)
    assert all(f.image.isfinite().all() and f.text.isfinite().all() for f in features)
    assert "tiny" in (tree / "results" / CONFIG["name"] / "tidy" / "table1" / "table.md").read_text()


def test_a_split_that_grows_by_two_pictures_costs_two_captions(tree):
    snakemake(tree, "tables", "--configfile", "config/tiny.yaml")
    config = json.loads(json.dumps(CONFIG))
    config["splits"]["train"]["count"] = 10
    (tree / "config" / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert planned(tree, "tables", "--configfile", "config/tiny.yaml")["caption"] == 1
    snakemake(tree, "tables", "--configfile", "config/tiny.yaml")
    logs = [path.read_text() for path in (tree / "logs" / "caption").iterdir()]
    assert sum("captions: 8 of 10 are in" in log and "2 to make" in log for log in logs) == 1
    assert planned(tree, "tables", "--configfile", "config/tiny.yaml") == Counter()


def test_another_decoding_asks_for_other_captions_and_going_back_for_nothing(tree):
    paper = json.loads(json.dumps(PAPER))
    paper["annotate"]["default"]["captioner"]["beams"] = 1
    (tree / "config" / "tiny-tidy.yaml").write_text(yaml.safe_dump(paper))
    assert planned(tree, "tables", "--configfile", "config/tiny.yaml")["caption"] == 2
    (tree / "config" / "tiny-tidy.yaml").write_text(yaml.safe_dump(PAPER))
    assert planned(tree, "tables", "--configfile", "config/tiny.yaml") == Counter()


def test_absent_weights_are_named_before_any_job_and_a_dry_run_says_so(tree):
    aside = (tree / "models" / "glip").rename(tree / "models" / "aside")
    try:
        said = snakemake(tree, "tables", "--configfile", "config/tiny.yaml", check=False)
        assert "models/glip" in said and "tidy: annotate default" in said and "rule " not in said
        assert "models/glip" in snakemake(tree, "tables", "--configfile", "config/tiny.yaml", "-n")
    finally:
        aside.rename(tree / "models" / "glip")
