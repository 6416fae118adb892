import copy
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT, demo_config, make_plan
from safetensors.numpy import save_file
from small_runs import plan_of

from tellsign.commands.configuration import wanted
from tellsign.errors import UserError
from tellsign.plan import fingerprint
from tellsign.plan.plan import Plan
from tellsign.schema.data import Bias, Perturbation
from tellsign.schema.strict_yaml import read_yaml

module_digest = fingerprint.module_digest


def prints(plan: Plan) -> dict[tuple[str, str], str]:
    return {(a.stage, a.name): a.fingerprint for a in plan.everything().values()}


def moved(before: Plan, after: Plan) -> set[str]:
    a, b = prints(before), prints(after)
    return {f"{stage} {name}" for stage, name in a.keys() | b.keys() if a.get((stage, name)) != b.get((stage, name))}


def edited(paper: str, change, tmp_path: Path, config: dict | None = None) -> Plan:
    """The demo's plan, or that of another configuration of its papers, with one paper file changed."""
    config = config or demo_config()
    for name in config["papers"]:
        data = yaml.safe_load((ROOT / name).read_text())
        if name.endswith(f"/{paper}.yaml"):
            change(data)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(data, sort_keys=False))
    published = tmp_path / "config" / "published"
    published.mkdir(exist_ok=True)
    for file in (ROOT / "config" / "published").glob("*.csv"):
        (published / file.name).write_text(file.read_text())
    return make_plan(config, folder=tmp_path)


@pytest.fixture(scope="module")
def demo() -> Plan:
    return make_plan(demo_config())


def test_a_runs_rate_moves_that_run_its_scores_and_its_tables(demo, tmp_path):
    after = edited("mpft", lambda d: d["runs"]["cutout"].update(optimiser={"lr": 2e-3}), tmp_path)
    changed = moved(demo, after)
    assert {"train mpft/cutout-s0", "score mpft/cutout", "evaluate mpft/cutout"} <= changed
    rest = {c.split()[0] for c in changed} - {"train", "score", "evaluate"}
    assert rest <= {"table", "figure", "report"}
    assert {c for c in changed if c.startswith("train")} == {"train mpft/cutout-s0"}


def test_a_mask_ratio_of_mpft_moves_nothing_of_lol(demo, tmp_path):
    after = edited("mpft", lambda d: d["base"]["mask"].update(ratio=[0.5, 0.8]), tmp_path)
    changed = moved(demo, after)
    assert "train mpft/tam-s0" in changed
    assert not {c for c in changed if " lol/" in c or " rescale/" in c or " tidy/" in c}


def test_order_of_keys_and_written_out_defaults_move_nothing(demo, tmp_path):
    def change(data):
        data["base"] = dict(reversed(data["base"].items()))
        data["base"]["batch_norm"] = "train"

    assert moved(demo, edited("lol", change, tmp_path)) == set()


def test_a_new_seed_trains_only_that_seed(demo, tmp_path):
    after = edited(
        "lol", lambda d: d["runs"].update(direct={"mask": {"name": "none"}, "seeds": [0, 1, 2, 3]}), tmp_path
    )
    assert {c for c in moved(demo, after) if c.startswith("train")} == {"train lol/direct-s3"}


def test_threshold_moves_metrics_but_no_training(demo):
    config = demo_config()
    config["evaluate"]["threshold"] = 0.4
    stages = {c.split()[0] for c in moved(demo, make_plan(config))}
    assert stages == {"evaluate", "table", "figure", "report"} & stages | {"evaluate", "table"}


def test_a_test_count_moves_no_training(demo):
    config = demo_config()
    config["splits"]["test"]["count"] = 100
    assert not {c for c in moved(demo, make_plan(config)) if c.startswith(("train", "pretrain"))}


def test_one_generators_steps_move_what_follows_but_no_other_generator(demo):
    config = demo_config()
    config["demo"]["generators"]["fsq"]["steps"] += 1
    changed = moved(demo, make_plan(config))
    assert {c for c in changed if c.startswith("demo_generator")} == {"demo_generator fsq"}
    assert "index demo" in changed and "pretrain rescale/encoder" not in changed


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("tellsign.methods.masks.boxes", {"train"}),
        ("tellsign.methods.lattice", {"pretrain"}),  # the figures that call it show encoders, and follow
        ("tellsign.results.figures.page", {"figure"}),
        ("tellsign.methods.discrepancy", {"train_head", "figure"}),
        ("tellsign.results.tables", {"table"}),
    ],
)
def test_an_edited_module_moves_the_stages_that_import_it_and_what_follows(demo, module, stages, monkeypatch):
    before = prints(demo)
    real = fingerprint.module_digest
    fingerprint.code_digest.cache_clear()
    monkeypatch.setattr(fingerprint, "module_digest", lambda m: "edited" if m == module else real(m))
    after_plan = make_plan(demo_config())
    after_plan.everything()
    fingerprint.code_digest.cache_clear()
    codes = {
        a.stage
        for a in after_plan.everything().values()
        if before[a.stage, a.name] != a.fingerprint
        and not any(before[n.stage, n.name] != n.fingerprint for held in a.needs.values() for _, n in held)
    }
    assert codes == stages


def test_reverting_gives_the_old_paths(demo, tmp_path):
    after = edited("mpft", lambda d: d["base"].update(epochs=7), tmp_path)
    assert moved(demo, after)
    assert moved(demo, make_plan(demo_config())) == set()


def test_equal_recipes_are_trained_once(demo):
    main, cell = demo.run("lol", "lol"), demo.run("lol", "mask-0.33_3.0-0.6_0.8")
    assert demo.checkpoint(main, 0) is demo.checkpoint(cell, 0)


def test_a_changed_image_moves_index_split_and_what_follows():
    config = folder_config()
    before, after = (make_plan(config, raw={"images": digest}, folder=ROOT) for digest in ("a", "b"))
    changed = moved(before, after)
    assert "index folder" in changed and "split test" in changed
    assert not {c for c in changed if c.startswith("pretrain")}


def folder_config() -> dict:
    """folder.yaml with values for what --config gives; any folder will do as a subset."""
    config = yaml.safe_load((ROOT / "config" / "folder.yaml").read_text())
    given = {"root": str(ROOT / "src" / "tellsign"), "photos": str(ROOT / "tests"), "train": "demo"}
    return {k: v for k, v in config.items() if v is not None} | given


def refusal(change) -> str:
    config = copy.deepcopy(demo_config())
    change(config)
    with pytest.raises(UserError) as caught:
        make_plan(config).everything()
    return str(caught.value)


def test_typos_are_refused_before_any_job():
    assert "Did you mean 'splits'" in refusal(lambda c: c.update(split=c.pop("splits")))
    assert "Did you mean 'demo'" in refusal(lambda c: c["splits"]["test"].update(benchmark="dmo"))
    assert "split 'test': unknown benchmark" in refusal(lambda c: c["splits"]["test"].update(benchmark="dmo"))
    assert "benchmark 'demo': unknown layout" in refusal(lambda c: c["benchmarks"]["demo"].update(layout="dmeo"))
    assert "Did you mean 'ldm'" in refusal(lambda c: c["splits"]["train"].update(subsets=["lmd"]))
    assert "config/demo/mpf.yaml" in refusal(lambda c: c["papers"].append("config/demo/mpf.yaml"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["runs"].update(x={"start": "run:nothing"}), "unknown run"),
        (lambda d: d["runs"].update(x={"start": "nothing"}), "pretrain:NAME or run:NAME"),
        (lambda d: d["runs"].update(x={"shots": 4, "start": None}), "shots but no start"),
        (
            lambda d: d["runs"].update(x={"backbone": {"front": None}}),
            "was trained with high_pass. Write backbone: {front",
        ),
        (
            lambda d: d["runs"].update(x={"start": "run:full", "backbone": {"front": "standardised"}}),
            "rescale: run x has backbone.front: standardised, but what it starts from was trained with high_pass",
        ),
        (lambda d: d["runs"].update(x={"backbone": {"weights": "clip-vit-l41"}}), "Did you mean 'clip-vit-l14'"),
        (lambda d: d["runs"].update(x={"backbone": {"name": "demo-xeption"}}), "Did you mean 'demo-xception'"),
        (lambda d: d["runs"].update(x={"data": {"count": 2000}}), "holds, 320. Ask for fewer"),
        (lambda d: d["runs"].update(x={"tests": ["tset"]}), "Did you mean 'test'"),
        (lambda d: d["runs"].update(x={"mask": {"name": "random_box", "ratio": [20, 40]}}), "Percent?"),
        (lambda d: d["tables"].update(x={"rows": [{"run": "fulll"}]}), "Did you mean 'rescale/full'"),
        (lambda d: d["tables"].update(x={"rows": [{"run": "fulll"}]}), "rescale: table x: unknown run 'rescale/fulll'"),
        (lambda d: d["figures"].update(x={"kind": "bars", "runs": ["f"]}), "rescale: figure x: unknown run"),
        (lambda d: d["runs"].update(x={"data": {"subsets": ["lmd"]}}), "Did you mean 'ldm'"),
        (lambda d: d["runs"].update(x={"data": {"split": "train-each", "subsets": ["fqs"]}}), "Did you mean 'fsq'"),
        (lambda d: d["runs"].update(x={"data": {"split": "trian"}}), "rescale: run x: unknown split 'trian'. Did"),
    ],
)
def test_a_wrong_paper_file_is_refused(change, words, tmp_path):
    with pytest.raises(UserError) as caught:
        edited("rescale", change, tmp_path).everything()
    assert words in str(caught.value)


def test_a_missing_folder_names_the_command():
    config = folder_config()
    del config["root"]
    with pytest.raises(UserError, match="--config root=PATH to"):
        make_plan(config).everything()
    with pytest.raises(UserError, match="there is no folder"):
        make_plan(config | {"root": "/no/such/place"}).everything()


def test_subsets_of_a_published_folder_that_is_missing_are_not_looked_for():
    config: dict[str, Any] = folder_config() | {"root": "/no/such/place"}
    config["benchmarks"] = {name: spec | {"page": "a page"} for name, spec in config["benchmarks"].items()}
    plan = make_plan(config)
    assert plan.everything() and "/no/such/place" in plan.missing_folders


def test_a_forgotten_or_misspelt_training_subset_is_refused():
    config = folder_config()
    with pytest.raises(UserError, match=r"add --config train=SUBSET to"):
        make_plan({k: v for k, v in config.items() if k != "train"})
    with pytest.raises(UserError, match=r"unknown subset .*'demmo'.*Did you mean 'demo'"):
        make_plan(config | {"train": "demmo"}).everything()


@pytest.mark.parametrize("name", ["config.yaml", "folder.yaml"])
def test_every_shipped_configuration_resolves(name):
    config = folder_config() if name == "folder.yaml" else demo_config()
    artifacts = make_plan(config).everything()
    assert {a.stage for a in artifacts.values()} >= {"index", "split", "crops", "train", "score", "evaluate", "table"}
    assert len({a.path for a in artifacts.values()}) == len(artifacts)


def test_photographs_decoded_on_the_fly_need_their_files_and_no_crops(demo, tmp_path):
    change = lambda d: d["pretrain"]["encoder"].update(decode="on_the_fly")  # noqa: E731
    after = edited("rescale", change, tmp_path)
    made = after.pretrain("rescale", "encoder")
    assert {role: [a.stage for _, a in held] for role, held in made.needs.items()} == {
        "split": ["split"],
        "made": ["demo_photos"],
    }
    assert "decode" not in made.settings and made.settings == demo.pretrain("rescale", "encoder").settings
    assert "photos-whole" not in {a.name for a in after.everything().values()}
    assert {"tellsign.data.images", "tellsign.data.photos"} <= set(fingerprint.closure("tellsign.stages.pretrain"))


def test_planning_imports_no_torch():
    modules = "tellsign.plan.plan, tellsign.data.inventory, tellsign.sharing.publish"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_artifacts_cannot_change(demo):
    artifact = next(iter(demo.everything().values()))
    with pytest.raises(dataclasses.FrozenInstanceError):
        artifact.name = "other"


def weighed(tmp_path, *files: str) -> Plan:
    """The demo's plan with a run of MPFT's for each weight file."""
    runs = {f"x{i}": {"backbone": {"weights": file}} for i, file in enumerate(files)}
    return edited("mpft", lambda d: d["runs"].update(runs), tmp_path)


def test_missing_weights_are_collected_and_the_plan_stands(tmp_path):
    plan = weighed(tmp_path, "a/one.safetensors", "clip-vit-l14", "a/one.safetensors")
    plan.everything()
    assert plan.missing == {"a/one.safetensors", "clip-vit-l14"}
    needed = plan.networks_needed()
    assert needed["a/one.safetensors"] == ["mpft/x0", "mpft/x2"] and "tidy: annotate default" in needed["shipped"]


def test_where_weights_lie_moves_nothing_and_what_they_hold_moves_their_runs(tmp_path):
    names = [f"{name}.safetensors" for name in ("here/same", "there/same", "there/other")]
    for name in names:  # a file's digest is its name here
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_file({"position": np.zeros(1)}, tmp_path / name)
    prints = []
    for name in names:
        plan = weighed(tmp_path, name)
        prints.append(plan.checkpoint(plan.run("mpft", "x0"), 0).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_an_edit_of_one_captioner_moves_no_other(demo, monkeypatch):
    real = fingerprint.code_digest
    monkeypatch.setattr(
        "tellsign.plan.annotation.code_digest",
        lambda *m: "new" if "tellsign.networks.captioners.transformers" in m else real(*m),
    )
    assert moved(demo, make_plan(demo_config())) == set()
    monkeypatch.setattr(
        "tellsign.plan.annotation.code_digest",
        lambda *m: "new" if "tellsign.networks.captioners.demo" in m else real(*m),
    )
    stages = {c.split()[0] for c in moved(demo, make_plan(demo_config()))}
    assert {"caption", "ground", "embed", "train_head"} <= stages and not stages & {"crops", "train", "pretrain"}


@pytest.mark.parametrize("module", ["pixels", "images", "perturbations.none", "perturbations.tidy_jpeg"])
def test_rows_of_stores_belong_to_the_code_that_made_their_pixels(demo, monkeypatch, module):
    """Else what was made by old code would be taken into artifacts of a new name."""

    def stores(plan: Plan) -> dict[str, str]:
        """Each store, and the perturbation of the pixels that its rows are of."""
        kept = [a for a in plan.everything().values() if a.store]
        return {a.store: a.needs["crops"][0][1].settings["perturbation"]["name"] for a in kept}

    before = stores(demo)
    real = module_digest
    monkeypatch.setattr(fingerprint, "module_digest", lambda m: "new" if m == f"tellsign.data.{module}" else real(m))
    fingerprint.code_digest.cache_clear()
    try:
        after = stores(make_plan(demo_config()))
    finally:
        fingerprint.code_digest.cache_clear()
    assert len(after) == len(before) >= 3
    _, _, perturbation = module.replace("_", "-").partition(".")
    users = {store for store, name in before.items() if name == perturbation or not perturbation}
    assert users and set(before) - set(after) == users


def test_a_store_is_shared_by_splits_and_left_by_another_decoding(tmp_path):
    def stores(**captioner):
        def change(data):
            data["annotate"]["default"]["captioner"] = {"name": "blip2", "weights": "./here", **captioner}

        artifacts = edited("tidy", change, tmp_path).everything().values()
        return {a.store for a in artifacts if a.stage == "caption"}

    plain_pixels = stores()
    assert plain_pixels == stores(beams=5) and not plain_pixels & stores(beams=1)
    splits = {a.name for a in edited("tidy", lambda d: None, tmp_path).everything().values() if a.stage == "caption"}
    assert len(splits) > len(plain_pixels)  # train and test share a store; each perturbation has its own


def checkpoint_of(plan: Plan, name: str):
    run = plan.run("mpft", name)
    return plan.checkpoint(run, run.seeds[0])


def with_runs(tmp_path: Path, **runs) -> Plan:
    """The demo's plan with more runs in MPFT's file."""
    return edited("mpft", lambda d: d["runs"].update(runs), tmp_path)


def test_what_happens_at_test_alone_trains_nothing_anew(tmp_path):
    squash = {"mode": "squash", "size": 80}
    plan = with_runs(tmp_path, plain={}, squashed={"resize_test": squash, "crop_test": 80, "seeds": [0]})
    assert checkpoint_of(plan, "squashed") is checkpoint_of(plan, "plain")
    scores = plan.score(plan.run("mpft", "squashed"))
    assert scores.settings["view"]["crop"] == 80
    assert all(crops.settings["resize"]["mode"] == "squash" for _, crops in scores.needs["inputs"])
    assert scores.path != plan.score(plan.run("mpft", "plain")).path


def test_resized_training_images_are_crops_of_their_own(demo, tmp_path):
    plan = with_runs(tmp_path, plain={}, shorter={"resize": {"mode": "shorter", "size": 80}, "seeds": [0]})
    (_, mine), (_, other) = (checkpoint_of(plan, name).needs["inputs"][0] for name in ("shorter", "plain"))
    assert mine.settings == other.settings | {"resize": {"mode": "shorter", "size": 80, "filter": "bilinear"}}
    assert "shorter80" in mine.name and other.path in {a.path for a in demo.everything().values()}


def test_early_stopping_reads_a_validation_split_resized_like_the_training(tmp_path):
    stop = {"split": "test", "count": 4}
    plan = with_runs(tmp_path, early={"stop": stop, "keep": 1, "resize": {"mode": "squash", "size": 80}, "seeds": [0]})
    checkpoint = checkpoint_of(plan, "early")
    assert checkpoint.settings["stop"]["patience"] == 5 and "split" not in checkpoint.settings["stop"]
    assert checkpoint.needs["validation_split"] == [("", plan.split("test"))]
    ((_, crops),) = checkpoint.needs["validation_inputs"]
    assert (crops.settings["store"], crops.settings["size"]) == ("center", checkpoint.settings["crop"])
    assert crops.settings["resize"]["mode"] == "squash"
    with pytest.raises(UserError, match="Did you mean 'test'"):
        with_runs(tmp_path, early={"stop": {"split": "tset"}, "keep": 1}).everything()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"epochs": 0}, "only the head 'nearest'"),
        ({"head": {"name": "nearest"}}, "epochs: 0, trainable: head"),
        ({"head": {"name": "nearest", "k": 2}, "epochs": 0, "trainable": "head"}, "odd"),
        ({"stop": {}, "keep": 2}, "keep: 1"),
        ({"optimiser": {"name": "sgd", "nesterov": True, "momentum": 0.0}}, "momentum"),
        ({"schedule": {"warmup": 99}}, "warmup is 99"),
        ({"backbone": {"name": "npr", "weights": "none"}, "crop": 71}, "even"),
    ],
)
def test_settings_that_are_wrong_together_are_refused(run, message, tmp_path):
    with pytest.raises(UserError, match=message):
        with_runs(tmp_path, wrong=run)


def test_protocols_are_evaluated_from_the_same_scores(demo):
    table = demo.table("mpft", "protocols")
    held = [a for _, a in table.needs["metrics"]]
    names = ["", "threshold=oracle", "batch=16", "sample.limit=50, sample.fallback=10"]
    assert [a.settings["protocol"] for a in held] == names
    assert len({a.path for a in held}) == 4
    assert {a.needs["scores"][0][1].path for a in held} == {demo.score(demo.run("mpft", "tam-last")).path}
    rows = table.settings["rows"]
    assert [row["select"].get("protocol", "") for row in rows] == ["", "", *(a.settings["protocol"] for a in held[1:])]


def test_a_protocol_of_a_table_a_column_and_a_row(tmp_path):
    def change(data):
        data["tables"]["x"] = {
            "title": "x", "kind": "runs", "metric": "accuracy", "protocol": {"sample": {"limit": 9}},
            "rows": [{"run": "tam"}, {"run": "direct", "protocol": {"batch": 4}}],
            "columns": [{"metric": "accuracy"}, {"label": "oracle", "protocol": {"threshold": "oracle"}}],
        }  # fmt: skip

    held = [a for _, a in edited("mpft", change, tmp_path).table("mpft", "x").needs["metrics"]]
    assert [(a.settings["run"], a.settings["protocol"]) for a in held] == [
        ("tam", "sample.limit=9"), ("tam", "threshold=oracle"), ("direct", "batch=4"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ({"treshold": "oracle"}, "Did you mean 'threshold'"),
        ({"sample": {"per": "clas"}}, "Did you mean 'class'"),
        ({"validation": "tset"}, "Did you mean 'test'"),
        ("oracle", "it says fields of evaluate"),
    ],
)
def test_a_wrong_protocol_is_refused(protocol, words, tmp_path):
    def change(data):
        data["tables"]["protocols"]["rows"][0]["protocol"] = protocol

    with pytest.raises(UserError) as caught:
        edited("mpft", change, tmp_path).everything()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"benchmark": None}, "was tested on demo, demo2: the table must say which benchmark"),
        ({"benchmark": "dmeo2"}, r"has no metrics of benchmark 'dmeo2'. Did you mean 'demo2'\? Known: demo, demo2."),
        ({"benchmark": "demo2"}, ""),
        ({"benchmark": "demo", "perturbation": "jpg"}, "has no metrics of perturbation 'jpg'.* Known: none."),
        ({"benchmark": "demo", "subset": "ldmm"}, r"has no metrics of subset 'ldmm'. Did you mean 'ldm'\?"),
        (
            {"benchmark": "demo", "checkpoint": "best"},
            r"has no metrics of checkpoint 'best'. Name a test set that",
        ),
        ({"benchmark": "demo", "checkpoint": "best", "protocol": {"validation": "test"}}, ""),
        (
            {"benchmark": "demo", "checkpoint": "mean"},
            r"has no metrics of checkpoint 'mean'. Keep more than one epoch",
        ),
        ({"benchmark": "demo", "columns": ["ldm", "fsk"]}, r"has no metrics of subset 'fsk'. Did you mean 'fsq'\?"),
    ],
)
def test_numbers_that_no_run_will_have_are_refused_before_any_job(table, words, tmp_path):
    """A table of a run that is tested on two benchmarks and keeps one epoch."""

    def change(data):
        data["tests"] = {**data.get("tests", {}), "other": {"split": "other"}}
        data["runs"]["two"] = {"tests": ["test", "other"], "keep": 1}
        data["tables"]["x"] = {"title": "x", "kind": "subsets", "metric": "accuracy", "rows": [{"run": "two"}]} | table

    def planned():
        config = demo_config()
        config["benchmarks"]["demo2"] = dict(config["benchmarks"]["demo"])
        config["splits"]["other"] = {**config["splits"]["test"], "benchmark": "demo2"}
        return edited("mpft", change, tmp_path, config)

    if words:
        with pytest.raises(UserError, match=f"mpft: table x: run mpft/two {words}"):
            planned().everything()
    else:
        assert planned().table("mpft", "x")


def test_reals_of_other_subsets_have_no_scores_of_a_few_shot_model(tmp_path):
    def change(data):
        table = next(name for name, spec in data["tables"].items() if "4-shot" in str(spec))
        data["tables"][table]["protocol"] = {"pooled_reals": "all"}

    with pytest.raises(UserError, match="has shots, so each subset has a model of its own"):
        edited("rescale", change, tmp_path).everything()


def test_the_whole_plan_of_the_papers_stands():
    config = read_yaml(ROOT / "config" / "paper.yaml") | {"data": "nowhere"}
    artifacts = make_plan(config).everything().values()
    assert sum(a.stage.startswith("train") for a in artifacts) > 500


def test_a_question_is_answered_once(demo):
    run = demo.run("mpft", "tam")
    assert demo.score(run) is demo.score(run) and demo.report() is demo.report()
    assert demo.checkpoint(run, 0) is not demo.checkpoint(run, 1)
    crops = demo.crops("test", "whole", 0, Perturbation(), Bias())
    assert demo.embed("tidy", "default", crops) is demo.embed("tidy", "default", crops)


@pytest.mark.parametrize(
    ("word", "near"), [("tabels", "tables"), ("mptf-table1", "mpft-table1"), ("lol-fig44", "lol-fig4")]
)
def test_a_misspelt_target_is_refused(demo, word, near):
    with pytest.raises(UserError, match=f"unknown target '{word}'. Did you mean '{near}'"):
        wanted(demo, [word])


def test_targets_that_are_rules_or_files_are_snakemakes_own(demo):
    assert wanted(demo, ["demo_weights", "data/x.csv", "README.md"]) == []


def test_what_scores_a_frozen_backbone_is_given_the_file_of_its_weights(tmp_path):
    frozen = {"trainable": "head", "backbone": {"name": "demo-clip-vit", "weights": "shipped"}}
    runs = {"probe": frozen, "few": frozen | {"start": "run:probe", "shots": 2}, "tuned": {"start": "run:probe"}}
    runs |= {"all": {}, "late": frozen | {"start": "run:all"}, "random": frozen | {"backbone": {"weights": "none"}}}
    plan = plan_of(tmp_path, runs, {"backbone": frozen["backbone"]})
    made = {name: plan.checkpoint(plan.run("toys", name), 0).settings["backbone"] for name in runs}
    assert len({made[name]["digest"] for name in ("probe", "few", "tuned", "all")}) == 1
    assert made["late"]["digest"] == made["random"]["digest"] == "none"
    networks = {name: plan.score(plan.run("toys", name)).settings["networks"] for name in runs}
    kept = {"backbone": made["probe"]}
    assert networks == {"probe": kept, "few": kept, "tuned": {}, "all": {}, "late": {}, "random": {}}
