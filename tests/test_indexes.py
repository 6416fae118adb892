"""An index for each part and subset: what a target needs, what a second target adds, and what indexes know together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mini_trees
import pytest
import yaml
from conftest import ROOT
from test_mini_trees import config, made_paths, planned

from tellsign.__main__ import run
from tellsign.commands.configuration import Request, plan_for_rules
from tellsign.data.benchmarks import PASSED_OVER, folders_of_others, passed_over
from tellsign.data.layouts.base import Placed
from tellsign.data.leaks import LEFT_OUT
from tellsign.errors import UserError
from tellsign.plan.artifact import ancestors
from tellsign.stages import index, split
from tellsign.stages.table import what_contradicts
from tellsign.system.parquet import read_notes, read_rows

GENERATORS = ("adm", "biggan", "glide", "midjourney", "sdv14", "sdv15", "vqdm", "wukong")
SPLITS: dict[str, dict[str, Any]] = {
    "one": {"benchmark": "genimage", "part": "train", "subsets": ["sdv14"], "count": 4},
    "all": {"benchmark": "genimage", "part": "train", "count": 4},
    "test": {"benchmark": "genimage", "part": "test", "count": 4},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """GenImage with one generator's training part and all test parts."""
    mini_trees.genimage(tmp_path / "data/GenImage")
    for folder in (tmp_path / "data/GenImage").glob("**/train"):
        if "v_1_4/imagenet_ai_0419_sdv4/train" not in str(folder):
            shutil.rmtree(folder, ignore_errors=True)
    return tmp_path / "data"


def units(artifacts: Any) -> set[str]:
    return {a.name for a in artifacts if a.stage == "index"}


def written(folder: Path, data: Path, **changes: Any) -> Path:
    """A configuration whose table ``one`` trains on one subset and ``all`` on every one."""
    base = {"backbone": {"name": "demo-clip-vit", "weights": "none"}, "data": {"split": "one"}, "crop": 72}
    table = {"title": "t", "kind": "subsets", "metric": "accuracy"}
    paper = {"paper": "mpft", "title": "t", "seeds": [0], "base": base}
    paper |= {"runs": {"one": {}, "all": {"data": {"split": "all"}}}}
    paper |= {"tables": {n: table | {"rows": [{"run": n}]} for n in ("one", "all")}}
    (folder / "paper.yaml").write_text(yaml.safe_dump(paper))
    plain = config(data, splits=SPLITS, papers=[str(folder / "paper.yaml")], **changes)
    (folder / "config.yaml").write_text(yaml.safe_dump(plain))
    return folder / "config.yaml"


def test_a_target_needs_the_parts_and_subsets_that_its_runs_read(data, tmp_path, monkeypatch, capsys):
    configfile = written(tmp_path, data)
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load(configfile.read_text())
    plan, artifacts, warning = plan_for_rules(values, tmp_path, Request(["mpft-one"], dry_run=False, in_job=False))
    assert warning == ""  # nothing is missing: jobs may start
    needed = units(ancestors([plan.table("mpft", "one")]).values())
    assert needed == {"genimage/train/sdv14"} | {f"genimage/test/{name}" for name in GENERATORS}
    assert {a.path for a in ancestors([plan.table("mpft", "one")]).values()} <= artifacts.keys()
    assert run(["doctor", "--configfile", "config.yaml", "--table", "mpft-one"]) == 0
    assert "Nothing is missing." in capsys.readouterr().out


def test_the_first_table_of_mpft_needs_one_training_folder(data, tmp_path, monkeypatch, capsys):
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)
    given = ["--configfile", "config/paper.yaml", "--config", f"data={data}", "--table", "mpft-table1"]
    assert run(["doctor", *given]) == 1  # weights, and two images where there should be thousands
    out = " ".join(capsys.readouterr().out.split())
    assert "genimage: only these are needed: train: sdv14; test: all. Not needed: train: adm, biggan, glide," in out
    assert "genimage: sdv14, train, fake: 3 of 162,000" in out and "genimage: adm, train" not in out


def test_a_target_that_needs_more_than_is_there_is_refused_before_any_job(data, tmp_path):
    values = yaml.safe_load(written(tmp_path, data, benchmarks={"include": "config/benchmarks.yaml"}).read_text())
    with pytest.raises(UserError, match="genimage: wukong, train: no images in a folder wukong or imagenet_ai_0424"):
        plan_for_rules(values, ROOT, Request(["mpft-all"], dry_run=False, in_job=False))
    _, _, warning = plan_for_rules(values, ROOT, Request(["mpft-all"], dry_run=True, in_job=False))
    assert "genimage: adm, test, real: 2 of 6,000" in warning and "This is a dry run" in warning


def test_another_target_indexes_what_is_new(data, tmp_path):
    mini_trees.genimage(tmp_path / "whole/GenImage")
    plan = planned(tmp_path / "whole", splits=SPLITS)
    first = {index.path for _, index in plan.split("one").needs["index"] + plan.split("test").needs["index"]}
    second = {index.path for _, index in plan.split("all").needs["index"]}
    assert len(first) == 9 and len(second) == 8 and len(first & second) == 1
    alone = planned(tmp_path / "whole", splits={name: SPLITS[name] for name in ("one", "test")})
    assert alone.split("one").path == plan.split("one").path
    mini_trees.pictures(tmp_path / "whole/GenImage/ADM/imagenet_ai_0508_adm/train/ai", "new{}.png")
    grown = planned(tmp_path / "whole", splits=SPLITS)
    moved = second - {index.path for _, index in grown.split("all").needs["index"]}
    assert len(moved) == 1 and "/train/adm." in next(iter(moved)) and grown.split("one").path == plan.split("one").path


def made(plan: Any, name: str, folder: Path) -> Path:
    """A split and its indexes."""
    artifact = plan.split(name)
    for one in ancestors([artifact]).values():
        if one.stage == "index":
            index.main(settings=one.settings, roots=made_paths(one), out=folder / one.path, expected=one.expected)
    paths = {role: [folder / one.path for _, one in artifact.needs.get(role, [])] for role in ("index", "later")}
    split.main(settings=artifact.settings, out=folder / artifact.path, **paths)
    return folder / artifact.path


def test_an_index_holds_its_own_and_indexes_count_strays_once(data, tmp_path):
    (data / "GenImage/readme.txt").touch()
    plan = planned(data, splits=SPLITS)
    drawn = made(plan, "one", tmp_path)
    assert {row["subset"] for row in read_rows(drawn).to_pylist()} == {"sdv14"} and len(read_rows(drawn)) == 4
    held = {a.name: tmp_path / a.path for a in ancestors([plan.split("one")]).values() if a.stage == "index"}
    rows = {name: read_rows(path).to_pylist() for name, path in held.items()}
    assert all({(r["part"], r["subset"]) for r in of} == {tuple(n.split("/")[1:])} for n, of in rows.items())
    strays = passed_over(json.loads(read_notes(path)[PASSED_OVER]) for path in held.values())
    assert strays["suffix .txt"] == strays["suffix .svg"] == strays["__MACOSX folder"] == 1
    assert strays["outside {train,val}/{ai,nature} (under stable_diffusion_v_1_4)"] == 1


def test_images_that_are_looked_at_later_or_have_two_labels_are_not_drawn(data, tmp_path):
    sd = data / "GenImage/stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/train"
    (sd / "ai/033_sdv4_00152.png").unlink()  # empty
    mini_trees.pictures(sd / "ai", "more{}.png", 4)
    mini_trees.pictures(sd / "nature", "more{}.JPEG", 2)
    shutil.copy(next((data / "GenImage/Wukong").glob("**/val/ai/*.png")), sd / "ai/leak.png")
    shutil.copy(next((data / "GenImage/ADM").glob("**/val/ai/*")), sd / "nature/two.png")
    whole = SPLITS | {"one": SPLITS["one"] | {"count": "all"}}
    drawn = made(planned(data, splits=whole), "one", tmp_path)
    names = {Path(row["path"]).name for row in read_rows(drawn).to_pylist()}
    assert not {"leak.png", "two.png"} & names and len(names) == 10
    assert json.loads(read_notes(drawn)[LEFT_OUT]) == {"two labels": 1, "two parts": 1}
    (said,) = what_contradicts({"training split one": drawn})
    assert "training split one: 1 as both real and fake, 1 also in a part that is looked at later" in said
    with pytest.raises(UserError, match=r"1 images in two labels, 1 images in two parts: .*lists them"):
        made(planned(data, splits=whole, on_bad="fail"), "one", tmp_path / "fail")


def test_folders_of_others_are_the_highest_that_hold_nothing_else():
    placed = [Placed(s, p, 1, s, "r", f"{s.upper()}/x/{p}/ai") for s in ("a", "b") for p in ("train", "test")]
    held = {"r": ["A/x/train/ai", "A/x/test/ai", "B/x/train/ai", "B/x/test/ai", "C/stray"]}
    assert folders_of_others(placed, held, "train", "a") == {"r": ["A/x/test", "B"]}
    shared = [*placed, Placed("a", "train", 0, "real", "r", "B/x/test/ai")]
    assert folders_of_others(shared, held, "train", "a") == {"r": ["A/x/test", "B/x/train"]}
