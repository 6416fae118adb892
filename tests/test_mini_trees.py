"""The published benchmarks in miniature: every quirk by name, through index and split; the plan with and without."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mini_trees
import numpy as np
import pytest
import yaml
from conftest import ROOT, make_plan

from tellsign.data.images import center_window
from tellsign.data.inventory import watched_images
from tellsign.errors import UserError
from tellsign.plan.plan import Plan
from tellsign.schema.weights import ResolvedWeights
from tellsign.stages import index, split
from tellsign.system.parquet import read_rows

PARTS = {"imagenet": ["pretrain"], "lsun": ["pretrain"]} | {
    name: ["test"] for name in ("whichfaceisreal", "ufd", "ufd-pooled", "self-synthesis")
}
BENCHMARKS = tuple(yaml.safe_load((ROOT / "config" / "benchmarks.yaml").read_text()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return mini_trees.make_all(tmp_path_factory.mktemp("data"))


def config(data, **changes):
    """Every benchmark with a split of every part it has."""
    splits = {
        f"{name}-{part}": {"benchmark": name, "part": part}
        for name in BENCHMARKS
        for part in PARTS.get(name, ["train", "val", "test"] if name == "forensynths" else ["train", "test"])
    }
    small = {name: {"on_short": "warn"} for name in BENCHMARKS}
    benchmarks = {"include": "config/benchmarks.yaml"} | small
    plain = {"name": "mini", "papers": [], "benchmarks": benchmarks, "splits": splits, "on_bad": "drop"}
    return plain | {"data": str(data)} | changes


class Mini:
    """Indexes and splits of the miniatures, each made once."""

    def __init__(self, data, folder):
        self.plan, self.folder = make_plan(config(data)), folder

    def index(self, benchmark):
        made = self.plan.index(benchmark)
        out = self.folder / f"{benchmark}.parquet"
        if not out.exists():
            index.main(settings=made.settings, roots=made_paths(made), out=out, expected=made.expected)
        return out

    def rows(self, benchmark):
        return read_rows(self.index(benchmark)).to_pylist()

    def sizes(self, benchmark, part="test"):
        """Usable images by subset as (real, fake)."""
        rows = [r for r in self.rows(benchmark) if (r["part"], r["status"]) == (part, "ok")]
        held = Counter((r["subset"], r["label"]) for r in rows)
        return {subset: (held[subset, 0], held[subset, 1]) for subset, _ in held}

    def draw(self, benchmark, **changes):
        settings: dict = {
            "part": "test",
            "subsets": [],
            "count": "all",
            "seed": 0,
            "skip": 0,
            "per_class": None,
            "fallback": None,
        }
        out = self.folder / "split.parquet"
        split.main(settings=settings | changes, index=[self.index(benchmark)], out=out)
        return read_rows(out).to_pylist()


def made_paths(made):
    return {key: Path(path) for key, path in made.roots.items()}


@pytest.fixture(scope="module")
def mini(data, tmp_path_factory):
    return Mini(data, tmp_path_factory.mktemp("index"))


# ------------------------------------------------------------------------------------------------ GenImage


def test_genimage_inner_folder_may_be_missing_and_case_does_not_matter(mini):
    names = ["adm", "biggan", "glide", "midjourney", "sdv14", "sdv15", "vqdm", "wukong"]
    assert mini.sizes("genimage") == dict.fromkeys(names, (2, 2))
    assert mini.sizes("genimage", "train") == dict.fromkeys(names, (2, 2))
    rows = mini.rows("genimage")
    assert {r["path"].split("/")[1] for r in rows if r["subset"] == "sdv15"} == {"train", "val"}
    assert {r["path"].split("/")[0] for r in rows if r["subset"] == "wukong"} == {"Wukong"}


def test_genimage_ai_is_fake_nature_is_real_and_val_is_the_test_part(mini):
    for row in mini.rows("genimage"):
        assert row["label"] == ("/ai/" in row["path"])
        assert row["part"] == ("test" if "/val/" in row["path"] else "train")
        assert row["generator"] == (row["subset"] if row["label"] else "real")


def test_genimage_upper_case_suffixes_empty_files_and_damaged_ones(mini):
    rows = mini.rows("genimage")
    assert sum(r["path"].endswith(".PNG") for r in rows if r["status"] == "ok") == 4
    bad = {r["path"].rpartition("/")[2]: r["status"] for r in rows if r["status"] != "ok"}
    assert bad == {"033_sdv4_00152.png": "empty", "n01440764_9.JPEG": "corrupt"}


def test_genimage_strays_are_counted(data, mini, tmp_path, caplog):
    made = mini.plan.index("genimage")
    with caplog.at_level(logging.INFO, "tellsign"):
        index.main(settings=made.settings | {"subsets": ["sdv14"]}, roots=made_paths(made), out=tmp_path / "i.parquet")
    assert "1 × __MACOSX folder" in caplog.text and "1 × suffix .svg" in caplog.text
    assert "1 × outside {train,val}/{ai,nature} (under stable_diffusion_v_1_4)" in caplog.text


# ------------------------------------------------------------------------------------------------ ForenSynths


def test_forensynths_nested_sets_are_pooled_and_keep_their_classes(mini):
    sizes = mini.sizes("forensynths")
    assert sizes["cyclegan"] == (12, 12) and sizes["stylegan2"] == (8, 8) and sizes["biggan"] == (2, 2)
    assert len(sizes) == 13
    classes = {r["class"] for r in mini.rows("forensynths") if r["subset"] == "cyclegan"}
    assert classes == set(mini_trees.NESTED["cyclegan"])
    assert {r["class"] for r in mini.rows("forensynths") if r["subset"] == "biggan"} == {""}
    assert {r["class"] for r in mini.draw("forensynths", subsets=["cyclegan"])} == classes


def test_forensynths_bmp_is_read_and_a_large_frame_too(mini):
    rows = mini.rows("forensynths")
    assert {r["format"] for r in rows if r["subset"] == "san" and not r["label"]} == {"PNG", "BMP"}
    assert max(r["width"] for r in rows if r["subset"] == "sitd") == 400
    assert mini.sizes("forensynths")["san"] == (3, 2)


def reals(mini, benchmark, subset):
    return [r for r in mini.rows(benchmark) if (r["subset"], r["label"]) == (subset, 0)]


def test_a_large_frame_is_not_kept_alive_by_its_crop():
    frame = np.zeros((300, 400, 3), np.uint8)
    assert not np.shares_memory(center_window(frame, 224), frame)


def test_forensynths_sets_that_share_their_real_images_have_the_same_ids(mini):
    crn, imle = ({r["id"] for r in reals(mini, "forensynths", subset)} for subset in ("crn", "imle"))
    assert crn == imle and len(crn) == 2


def test_forensynths_training_classes_are_subsets_of_progan(mini):
    for part in ("train", "val"):  # val lies one folder further down here
        assert mini.sizes("forensynths", part) == {f"progan-{name}": (2, 2) for name in mini_trees.CLASSES}
    rows = [r for r in mini.rows("forensynths") if r["part"] == "train"]
    assert {r["generator"] for r in rows} == {"real", "progan"}
    assert {(r["subset"], r["class"]) for r in rows} >= {("progan-train", "train"), ("progan-cat", "cat")}


def test_whichfaceisreal_stands_for_itself(mini):
    assert mini.sizes("whichfaceisreal") == {"whichfaceisreal": (2, 2)}


def test_universalfakedetects_sampling_rule_by_class(mini):
    def drawn(**rule):
        found = mini.draw("forensynths", subsets=["cyclegan", "biggan", "san"], **rule)
        return Counter((r["subset"], r["label"]) for r in found)

    assert drawn(per_class=2, fallback=1)["cyclegan", 0] == 12  # six classes of two
    poor = {"cyclegan": 6, "biggan": 1, "san": 1}
    assert drawn(per_class=3, fallback=1) == {(name, label): n for name, n in poor.items() for label in (0, 1)}
    assert drawn()["san", 0] == 3


# ------------------------------------------------------------------------------------------------ the others


def test_ufd_pairs_separate_real_folders_officially_or_pooled(mini):
    assert mini.sizes("ufd") == dict.fromkeys(mini_trees.UFD, (2, 2))
    for name in mini_trees.UFD:
        sources = {r["path"].split("/")[0] for r in reals(mini, "ufd", name)}
        assert sources == {"imagenet" if name == "guided" else "laion"}
    pooled = mini.sizes("ufd-pooled")
    assert pooled.pop("guided") == (2, 2) and set(pooled.values()) == {(4, 2)}
    assert len({r["id"] for r in mini.rows("ufd") if not r["label"]}) == 4


def test_ufd_copies_with_both_labels_in_a_folder(tmp_path):
    mini_trees.ufd(tmp_path / "UniversalFakeDetect", reals_inside=True)
    mini = Mini(tmp_path, tmp_path)
    assert mini.sizes("ufd") == mini.sizes("ufd-pooled") == dict.fromkeys(mini_trees.UFD, (2, 2))


def test_ufd_reals_are_not_counted_twice(tmp_path):
    mini_trees.ufd(tmp_path / "UniversalFakeDetect", reals_inside=True)
    mini_trees.ufd(tmp_path / "UniversalFakeDetect")
    assert Mini(tmp_path, tmp_path).sizes("ufd") == dict.fromkeys(mini_trees.UFD, (2, 2))


def test_self_synthesis(mini):
    assert mini.sizes("self-synthesis") == {name.lower(): (2, 2) for name in mini_trees.SELF_SYNTHESIS}


def test_diffusionforensics_share_their_real_images_and_pool_two_folders_of_one_generator(mini):
    names = [n for n in mini_trees.FORENSICS if not n.startswith("sdv1")]
    wanted = dict.fromkeys(names, (2, 2)) | {"sdv1_new": (2, 4)}
    assert mini.sizes("diffusionforensics-lsun") == mini.sizes("diffusionforensics-lsun", "train") == wanted
    assert mini.sizes("diffusionforensics-imagenet") == {"adm": (2, 2), "sdv1": (2, 2)}
    assert len({r["id"] for r in mini.rows("diffusionforensics-lsun") if not r["label"]}) == 4  # two a part


def test_photographs_for_pretraining_leave_the_validation_images_out(mini, caplog):
    assert mini.sizes("imagenet", "pretrain") == {"photos": (4, 0)}
    assert mini.sizes("lsun", "pretrain") == {"photos": (2, 0)}


def test_validation_images_among_the_photographs_are_reported(data, tmp_path, caplog):
    plan = make_plan(config(data, roots={"imagenet": str(data / "ImageNet")}))
    made = plan.index("imagenet")
    index.main(settings=made.settings, roots=made_paths(made), out=tmp_path / "i.parquet")
    assert "2 photographs for pre-training are named as ImageNet's validation images" in caplog.text


# ------------------------------------------------------------------------------------------------ counts


def test_a_shortfall_names_folder_source_and_licence_before_anything_is_decoded(data, tmp_path, monkeypatch):
    splits = {"t": {"benchmark": "genimage", "part": "test", "subsets": ["adm"]}}
    made = make_plan(config(data, benchmarks="config/benchmarks.yaml", splits=splits)).index("genimage")
    monkeypatch.setattr(index, "inspect", None)
    with pytest.raises(UserError) as caught:
        index.main(settings=made.settings, roots=made_paths(made), out=tmp_path / "i.parquet", expected=made.expected)
    said = str(caught.value)
    assert f"adm, test, fake: 2, should be 6,000: {data}/GenImage/ADM/imagenet_ai_0508_adm/val/ai\n" in said
    assert "github.com/GenImage-Dataset/GenImage (licence: CC BY-NC-SA 4.0)" in said and "on_short: warn" in said
    assert "wukong" not in said  # no split draws from it


def expectation(count, **changes):
    counts = {"adm": {"test": {"real": None, "fake": count, "inferred": False} | changes}}
    told = {"tolerance": 0.1, "on_short": "fail", "page": "p", "get": "", "licence": "", "folders": {"adm": ["ADM"]}}
    return told | {"counts": counts}


def test_tolerance_decides_and_inferred_counts_only_warn(tmp_path, caplog):
    found = [(("adm", "test", 1), "r", f"ADM/val/ai/{i}.png") for i in range(9)]
    index.check_counts(found, "files", {"r": tmp_path}, expectation(10))
    with pytest.raises(UserError, match=r"adm, test, fake: 8, should be 10: .*/ADM/val/ai"):
        index.check_counts(found[:8], "files", {"r": tmp_path}, expectation(10))
    with pytest.raises(UserError, match=r"fake: 0, should be 10: no folder of them \(ADM\) in "):
        index.check_counts([], "files", {"r": tmp_path}, expectation(10))
    assert not caplog.records
    lines = index.check_counts(found[:8], "files", {"r": tmp_path}, expectation(10, inferred=True))
    index.check_counts(found[:8], "usable images", {"r": tmp_path}, expectation(10, inferred=True), said=lines)
    index.check_counts(found[:8], "files", {"r": tmp_path}, expectation(10) | {"on_short": "warn"})
    assert "should be about 10" in caplog.text and len(caplog.records) == 2


def test_too_many_damaged_files_are_a_shortfall_as_well(tmp_path):
    for i in range(4):
        mini_trees.picture(tmp_path / f"ADM/val/ai/{i}.png")
    (tmp_path / "ADM/val/ai/0.png").write_bytes(b"")
    settings = {"benchmark": "g", "layout": "genimage", "subsets": [], "exclude": [], "folders": {"adm": ["adm"]}}
    settings |= {"parts": {"val": "test"}, "min_side": 8, "max_pixels": 10**8, "test_fraction": 0.5, "seed": 0}
    with pytest.raises(UserError, match="fewer usable images than"):
        index.main(
            settings=settings | {"on_bad": "drop"}, roots={"r": tmp_path}, out=tmp_path / "i", expected=expectation(4)
        )


# ------------------------------------------------------------------------------------------------ the plan


def planned(data, **changes) -> Plan:
    """A plan that digests what is there."""
    plain = config(data, **changes)
    look = lambda roots, exclude, watch: watched_images(roots, exclude, watch, data / "cache")  # noqa: E731
    plan = Plan(plain, look, lambda p: p.name, lambda w: ResolvedWeights(w, ""), ROOT)
    for name in plan.config.splits:
        plan.split(name)
    return plan


def test_the_plan_stands_without_data_and_says_how_to_get_it(tmp_path):
    plan = planned(tmp_path / "none")
    assert plan.missing_folders[str(tmp_path / "none/ForenSynths/train")] == ["forensynths/train"]
    assert plan.missing_folders[str(tmp_path / "none/UniversalFakeDetect")] == ["ufd", "ufd-pooled"]
    said = plan.missing_data_report()
    for words in ("doi:10.7910/DVN/AKDIHF", "licence: CC BY-NC-SA 4.0, about 500 GB", "--config data=FOLDER", "roots:"):
        assert words in said
    assert said.count("1FXlGIRh_Ud3cScMgSVDbEWmPDmjcrm1t") == 1


def test_with_data_nothing_is_absent_and_arriving_data_moves_its_splits_alone(data):
    plan = planned(data)
    assert not plan.missing_folders and plan.missing_data_report() == ""
    without = planned(data, roots={"ufd": str(data / "none")})
    moved = {name for name in plan.config.splits if plan.split(name).path != without.split(name).path}
    assert moved == {"ufd-test"} and list(without.missing_folders.values()) == [["ufd"]]


def test_a_part_that_no_split_draws_from_need_not_be_there(data):
    splits = {"t": {"benchmark": "forensynths", "part": "test"}}
    plan = planned(data, splits=splits, roots={"forensynths/train": "/no/such"})
    assert not plan.missing_folders and set(plan.index("forensynths").roots) == {"test"}


def test_sources_and_counts_move_nothing(data):
    changed = {"include": "config/benchmarks.yaml"}
    changed |= {n: {"on_short": "warn", "licence": "x", "page": "y", "tolerance": 0.5} for n in BENCHMARKS}
    one, other = planned(data), planned(data, benchmarks=changed)
    assert [one.split(n).path for n in one.config.splits] == [other.split(n).path for n in one.config.splits]


def test_typos_in_roots_and_subsets_and_a_lone_fallback_are_refused(data):
    with pytest.raises(UserError, match=r"Did you mean 'forensynths/train'"):
        planned(data, roots={"forensynths/trian": "x"})
    with pytest.raises(UserError, match=r"unknown subset .*'amd'. Did you mean 'adm'"):
        planned(data, splits={"t": {"benchmark": "genimage", "part": "test", "subsets": ["amd"]}})
    with pytest.raises(UserError, match=r"has a fallback but no per_class"):
        planned(data, splits={"t": {"benchmark": "genimage", "part": "test", "fallback": 100}})
    with pytest.raises(UserError, match=r"--config data=FOLDER"):
        make_plan({k: v for k, v in config(data).items() if k != "data"})


def test_an_image_in_val_or_test_may_not_be_trained_on(data, tmp_path):
    copied = shutil.copytree(data / "ForenSynths", tmp_path / "ForenSynths")
    shutil.copy(copied / "val/progan/cat/1_fake/0.png", copied / "train/cat/1_fake/leak.png")
    shutil.copy(copied / "test/progan/cat/1_fake/0.png", copied / "val/progan/cat/1_fake/leak.png")
    rows = Mini(tmp_path, tmp_path).rows("forensynths")
    told = {r["path"]: r["reason"] for r in rows if r["status"] == "two parts"}
    assert told == {
        "cat/1_fake/leak.png": "the same bytes are in train and in val",
        "progan/cat/1_fake/leak.png": "the same bytes are in val and in test",
    }


# ------------------------------------------------------------------------------------------------ the workflow


def snakemake(folder, *arguments):
    done = subprocess.run(
        [str(Path(sys.executable).parent / "snakemake"), "--cores", "1", "-s", str(ROOT / "Snakefile"), *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def paper(folder, data):
    """A configuration on real layouts with one run of MPFT's."""
    (folder / "paper.yaml").write_text(yaml.safe_dump({
        "paper": "mpft", "title": "t", "seeds": [0],
        "base": {"backbone": {"name": "demo-clip-vit", "weights": "shipped"}, "data": {"split": "train"}, "crop": 72},
        "runs": {"one": {}},
        "tables": {"t": {"title": "t", "kind": "subsets", "metric": "accuracy", "rows": [{"run": "one"}]}},
    }))  # fmt: skip
    splits = {"train": {"benchmark": "genimage", "part": "train", "subsets": ["sdv14"], "count": 4}}
    splits["test"] = {"benchmark": "genimage", "part": "test", "count": 4}
    plain = config(data, splits=splits, papers=[str(folder / "paper.yaml")])
    (folder / "config.yaml").write_text(yaml.safe_dump(plain))
    return "--configfile", str(folder / "config.yaml")


@pytest.mark.slow
def test_a_dry_run_stands_with_and_without_data_and_a_run_refuses(data, tmp_path):
    given = paper(tmp_path, data)
    code, said = snakemake(tmp_path, "-n", *given)
    assert code == 0 and "train" in said and "not there" not in said, said
    elsewhere = f"data={tmp_path / 'none'}"
    code, said = snakemake(tmp_path, "-n", *given, "--config", elsewhere)
    assert code == 0 and "1 folder of images is not there" in said and "This is a dry run" in said, said
    code, said = snakemake(tmp_path, *given, "--config", elsewhere)
    assert code == 1 and "doi:10.7910/DVN/AKDIHF" in said and "rule index" not in said, said
