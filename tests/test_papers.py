"""The papers as shipped: every configuration resolves, every table and figure finds its runs and printed numbers."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, demo_config, make_plan
from mini_trees import make_all

from tellsign.commands.configuration import plan_without_data
from tellsign.commands.coverage import as_markdown, made_for, trainings_of
from tellsign.errors import UserError
from tellsign.plan.artifact import Artifact, ancestors
from tellsign.plan.plan import Plan
from tellsign.plan.presentation import cells
from tellsign.results.figures.drawing import Inputs
from tellsign.results.figures.kinds import FIGURE_KINDS, is_made_from_metrics
from tellsign.results.published import load
from tellsign.results.tables.kinds import TABLE_KINDS
from tellsign.results.tables.make import make_document
from tellsign.results.tables.writers import FORMATS
from tellsign.schema.loading import build
from tellsign.schema.paper import Paper, PaperFile
from tellsign.schema.paper_files import read_paper_file, run_specs
from tellsign.schema.strict_yaml import read_yaml
from tellsign.schema.weights import NLTK
from tellsign.system.parquet import write_rows


def config_of(name: str) -> dict:
    return {key: value for key, value in read_yaml(ROOT / "config" / name).items() if value is not None}


@pytest.fixture(scope="module")
def paper() -> Plan:
    return make_plan(config_of("paper.yaml"))


@pytest.fixture(scope="module")
def small() -> Plan:
    return make_plan(config_of("paper-small.yaml"))


def made_up_metrics(plan: Plan, artifact: Artifact) -> list[dict]:
    """Rows as evaluate writes them for every run that a table or figure needs: accuracy 0.9 everywhere."""
    rows = []
    for _, metrics in artifact.needs["metrics"]:
        facts, tests = metrics.settings, {}
        run = plan.runs[f"{facts['paper']}/{facts['run']}"]
        recipe, last = run.recipe, getattr(run.recipe, "epochs", 1)  # a classifier fitted at once has no epochs
        for name, test in facts["tests"].items():
            split = plan.config.splits[dict(plan.score(run).needs["splits"])[name].name]
            benchmark = plan.config.benchmarks[split.benchmark]
            known = split.subsets or benchmark.subsets or tuple(benchmark.folders)
            tests.setdefault((test["benchmark"], test["perturbation"]), []).extend(known)
        epochs = range(last - recipe.keep + 1, last + 1)
        checkpoints = [("last", last), *(("epoch", e) for e in epochs)]
        checkpoints += [("mean", last)] if recipe.keep > 1 else []
        for (benchmark, perturbation), subsets in tests.items():
            for subset in (*subsets, "mean"):
                for metric in ("accuracy", "accuracy_oracle", "ap_fake", "ap_real"):
                    for seed in run.seeds:
                        for checkpoint, epoch in checkpoints:
                            rows.append(
                                {
                                    "paper": run.paper,
                                    "run": run.name,
                                    "seed": seed,
                                    "checkpoint": checkpoint,
                                    "epoch": epoch,
                                    "epochs": recipe.keep,
                                    "benchmark": benchmark,
                                    "subset": subset,
                                    "perturbation": perturbation,
                                    "threshold_rule": "0.5",
                                    "metric": metric,
                                    "value": 0.9,
                                    "low": 0.8,
                                    "high": 1.0,
                                    "spread": 0.01,
                                    "n_real": 10,
                                    "n_fake": 10,
                                    "images_seen": 100.0,
                                    "recipe": "r",
                                    "code": "c",
                                    "protocol": facts["protocol"],
                                    "data": "d",
                                }
                            )
    return rows


@pytest.mark.parametrize("name", ["paper.yaml", "paper-small.yaml", "folder-tidy.yaml"])
def test_every_shipped_configuration_resolves_without_its_data(name):
    config = config_of(name) | ({"root": str(ROOT / "src"), "train": "tellsign"} if "folder" in name else {})
    artifacts = make_plan(config).everything()
    assert {a.stage for a in artifacts.values()} >= {"index", "split", "crops", "evaluate", "table"}
    assert len({a.path for a in artifacts.values()}) == len(artifacts)


def test_the_whole_is_planned():
    plan = make_plan(config_of("paper.yaml"))
    paths = {a.path for a in plan.everything().values()}
    assert len(paths) > 1000


def test_the_same_jobs_are_planned_with_and_without_data(paper, tmp_path):
    data = make_all(tmp_path / "data")
    with_data = make_plan(config_of("paper.yaml") | {"data": str(data)})
    jobs, others = (Counter((a.stage, a.name) for a in p.everything().values()) for p in (with_data, paper))
    assert jobs == others and not with_data.missing_folders and paper.missing_folders


@pytest.mark.slow
def test_the_whole_dry_runs(tmp_path):
    given = ["--configfile", str(ROOT / "config" / "paper.yaml"), "--config", f"data={tmp_path}"]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "snakemake"), "-n", "-s", str(ROOT / "Snakefile"), "all", *given],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^train +801$", done.stdout + done.stderr, re.MULTILINE)


def test_a_paper_and_each_of_its_tables_and_figures_can_be_asked_for_by_name(paper):
    targets = paper.targets()
    assert targets["mpft-table1"] == [paper.table("mpft", "table1")]
    assert len(targets["lol"]) == len(paper.papers["lol"].tables) + len(paper.papers["lol"].figures)
    assert sum(len(targets[name]) for name in paper.papers) == len(targets) - len(paper.papers)


def test_a_row_can_be_asked_for_alone_and_says_of_which_table_it_is(paper):
    row, whole = paper.row("mpft-table1-tam"), paper.table("mpft", "table1")
    assert (row.name, len(trainings_of([row]))) == ("mpft/table1-tam", 3) and len(trainings_of([whole])) > 9
    assert row.path != whole.path and [label["label"] for label in row.settings["rows"]] == ["MPFT"]
    published = load(ROOT / "config" / "published" / "mpft.csv")
    text = FORMATS["md"](make_document(row.settings, made_up_metrics(paper, row), published))
    assert "tam alone" in text and "1 of the 11 rows of mpft-table1: those of tam. The target" in text
    rows = {target: paper.row(target) for target in paper.rows()}
    assert ancestors(rows.values()).keys() - {one.path for one in rows.values()} <= paper.everything().keys()
    assert not rows.keys() & paper.targets().keys()
    with pytest.raises(UserError, match="Did you mean 'mpft-table1-tam'"):
        paper.row("mpft-table1-tom")


def test_no_run_keeps_epochs_that_nothing_shows(paper: Plan) -> None:
    shown: dict[str, set[str | None]] = {}
    for name, held in paper.papers.items():
        for table in held.tables:
            for cell in cells(paper.table(name, table).settings):
                for run in cell.runs:
                    full = run if "/" in run else f"{name}/{run}"
                    shown.setdefault(full, set()).add(dict(cell.wanted)["checkpoint"])
        for figure, spec in held.figures.items():
            settings = paper.figure(name, figure).settings
            rule = "epoch" if spec["kind"] == "steps_curve" else settings.get("checkpoint")
            for run in paper.runs_in(name, spec):
                shown.setdefault(run.full_name, set()).add(rule)
    many = {full for full, run in paper.runs.items() if run.recipe.epochs_kept() > 1}
    assert len(many) > 20 and {full for full in many if shown.get(full, set()) <= {"last", None}} == set()


def test_the_number_of_trainings(paper, small):
    found = {key: len(trainings_of(p.tables() + p.figures())) for key, p in (("paper", paper), ("small", small))}
    assert found == {"paper": 835, "small": 38}


def equal(plan: Plan, *runs: str) -> None:
    """Runs whose trainings are one."""
    paths = {name: plan.checkpoint(plan.run("", name), plan.runs[name].seeds[0]).path for name in runs}
    assert len(set(paths.values())) == 1, paths


def test_equal_runs_are_trained_once_across_tables_and_papers(paper):
    cells = ["mpft/ratio-0.6_0.8", "mpft/patch-14", "mpft/volume-800", "mpft/trained-on-sdv14", "mpft/tam-clean"]
    equal(paper, "mpft/tam", *cells)
    equal(paper, "mpft/ufd", "mpft/ufd-ratio-0.0_0.4", "mpft/ufd-patch-14", "mpft/ufd-volume-800", "mpft/ufd-pooled")
    equal(paper, "mpft/direct", "mpft/direct-trained-on-sdv14")
    equal(paper, "lol/lol", "lol/mask-0.33_3.0-0.6_0.8", "lol/volume-clip-rn50-3200", "lol/trained-on-sdv14")
    equal(paper, "lol/lol-adm", "lol/trained-on-adm")
    equal(paper, "lol/resnet-adm", "lol/resnet-trained-on-adm")
    equal(paper, "lol/imagenet-adm", "lol/imagenet-trained-on-adm")
    equal(paper, "tidy/unifd", "tidy/unifd-robust")
    for one, other in (("cnnspot", "cnnspot"), ("swin-t", "swin-t"), ("unifd", "univfd"), ("npr", "npr")):
        equal(paper, f"mpft/{one}", f"rescale/{other}")
    for one, other in (("cnnspot", "cnnspot"), ("unifd", "univfd"), ("npr", "npr")):
        equal(paper, f"mpft/ufd-{one}", f"rescale/gan-{other}")


def test_early_stopping_validates_on_the_classes_that_are_trained_on(paper):
    splits = paper.config.splits
    stopping = {name: run.recipe for name, run in paper.runs.items() if run.recipe.validation()}
    for name, recipe in stopping.items():
        trained, held_out = recipe.data, recipe.validation()
        classes = trained.subsets or splits[trained.split].subsets
        assert classes == (held_out.subsets or splits[held_out.split].subsets), name
    assert {"mpft/cnnspot", "rescale/gan-univfd", "tidy/cnndet"} <= set(stopping)


def test_tidys_rivals_start_as_its_text_says(paper):
    names = ("resnet50", "swin-t", "swin-t-imagenet", "swin-b-imagenet", "cnndet", "unifd", "npr")
    starts = [paper.run("tidy", name).recipe.backbone.weights for name in names]
    assert starts == ["none", "none", "swin-t", "swin-b", "resnet50", "clip-vit-l14", "none"]


@pytest.mark.parametrize(("shots", "reached"), [(4, 0.15), (8, 0.10)])
def test_unifds_few_shots_lower_their_loss_as_docs_rescale_says(paper, shots, reached):
    """Features of norm 10 with a cosine of about 0.7, all called real at a logit of -3, then the run's own steps."""
    recipe = paper.run("rescale", f"univfd-{shots}-shot").recipe
    steps = recipe.epochs * -(-2 * shots // recipe.batch_size)
    losses = []
    for rate, count in ((recipe.optimiser.lr, steps), (1e-4, 20)):
        unit = torch.nn.functional.normalize(
            torch.randn(1 + 2 * shots, 768, generator=torch.Generator().manual_seed(0))
        )
        x, labels = 10 * (0.7**0.5 * unit[0] + 0.3**0.5 * unit[1:]), (torch.arange(2 * shots) % 2).float()
        weight, bias = torch.zeros(768, requires_grad=True), torch.tensor(-3.0, requires_grad=True)
        adam = torch.optim.AdamW([weight, bias], lr=rate, weight_decay=recipe.optimiser.weight_decay)
        for _ in range(count):
            adam.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ weight + bias, labels)
            loss.backward()
            adam.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(reached, abs=0.02) and losses[1] > 1.3


def test_the_one_training_keeps_the_most_epochs_that_any_run_looks_at(paper):
    tam, cell = paper.run("mpft", "tam"), paper.run("mpft", "volume-800")
    assert paper.checkpoint(tam, 3407).settings["keep"] == 10
    assert paper.score(cell).settings["keep"] == 5 and paper.score(tam).settings["keep"] == 10


@pytest.mark.parametrize("which", ["paper", "small"])
def test_every_table_finds_its_numbers_and_every_quoted_row_says_so(which, request):
    plan = request.getfixturevalue(which)
    for name, held in plan.papers.items():
        published = load(ROOT / "config" / "published" / f"{name}.csv")
        for table, spec in held.tables.items():
            made = plan.table(name, table)
            document = make_document(made.settings, made_up_metrics(plan, made), published)
            sources = {number.source for number in document.numbers}
            notes = [number.note for number in document.numbers if number.source == "quoted"]
            compared = plan.config.comparable and not all(note.startswith("as printed") for note in notes)
            assert sources == {"ours", "quoted", *(["delta"] if compared else [])}, table
            text = FORMATS["md"](document)
            rows = [] if {"run", "grid"} & spec.keys() else spec["rows"]
            quoted = [row["label"] for row in rows if not {"run", "grid", "why"} & row.keys()]
            assert ("Quoted only; not run here." in text) == bool(quoted), f"{name}/{table}"


def test_released_checkpoints_stand_beside_the_papers_rows_and_train_nothing(paper):
    plan = make_plan(config_of("paper-released.yaml"))
    added = plan.runs.keys() - paper.runs.keys()
    assert len(added) == 28 and not any(plan.runs[name].recipe.inputs() for name in added)
    assert set(paper.runs) < set(plan.runs) and not paper.papers["mpft"].released
    trained = ({a.fingerprint for a in p.everything().values() if a.stage == "train"} for p in (paper, plan))
    assert next(trained) < next(trained)
    for name, held in plan.papers.items():
        published = load(ROOT / "config" / "published" / f"{name}.csv")
        for table, spec in held.tables.items():
            if any("released" in row for row in spec["rows"]):
                made = plan.table(name, table)
                document = make_document(made.settings, made_up_metrics(plan, made), published)
                told = {number.source for number in document.numbers}
                assert {"released", "ours less released"} <= told, table
                assert sum("the released file" in note for note in document.footnotes) > 1, table


@pytest.mark.parametrize("which", ["paper", "small"])
def test_every_figure_of_metrics_finds_its_numbers(which, request, tmp_path):
    plan = request.getfixturevalue(which)
    for name, held in plan.papers.items():
        for one, spec in held.figures.items():
            if is_made_from_metrics(spec["kind"]):
                made = plan.figure(name, one)
                rows = made_up_metrics(plan, made)
                write_rows(tmp_path / "m.parquet", {key: [row[key] for row in rows] for key in rows[0]})
                drawing = FIGURE_KINDS.load(spec["kind"])(made.settings, Inputs([tmp_path / "m.parquet"]))
                values = drawing.columns["value"]
                assert values == pytest.approx([90] * len(values)) and drawing.caption, f"{name}/{one}"


def test_every_t_sne_draws_as_many_images_as_the_decision_says(paper, small):
    shown = [p.figure(name, f).settings for p in (paper, small) for name in p.papers for f in p.papers[name].figures]
    assert {spec["per_class"] for spec in shown if spec["kind"] == "tsne"} == {200}
    assert "200 images of each class" in (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")


def test_figures_whose_generators_the_paper_does_not_name_say_which_they_show(paper, small):
    notes = [p.figure("tidy", name).settings["note"] for p in (paper, small) for name in ("fig1b", "fig9")]
    assert all("aper" in note for note in notes) and len(set(notes)) == 4
    assert all(word in notes[0] for word in ("ProGAN", "LDM with 200 steps", "whichfaceisreal"))


def test_every_printed_table_and_figure_has_runs_or_a_reason(paper):
    for name, held in paper.papers.items():
        for artifact, shown in held.artifacts.items():
            ours = shown.tables + shown.figures
            assert bool(ours) != bool(shown.without), f"{name}: {artifact}"
            needed = made_for(paper, name, shown)
            images = {a.stage for made in needed for held in made.needs.values() for _, a in held}
            assert bool(images & {"evaluate", "train", "pretrain", "embed"}) == bool(ours), f"{name}: {artifact}"
        claimed = {one for shown in held.artifacts.values() for one in (*shown.tables, *shown.figures)}
        assert claimed == {*held.tables, *held.figures}
        printed = {q.artifact for q in load(ROOT / "config" / "published" / f"{name}.csv")} - {"text"}
        known = {artifact.lower().replace(" ", "") for artifact in held.artifacts}
        assert {p.lower() for p in printed} <= known


def test_coverage_is_as_committed():
    plan = plan_without_data(config_of("paper.yaml"), ROOT)
    text = as_markdown(plan, Path("config/paper.yaml"))
    assert (ROOT / "docs" / "coverage.md").read_text() == text, "run: tellsign coverage --out docs/coverage.md"


def test_the_demo_and_the_papers_show_every_kind_of_table_and_figure(paper):
    for plan in (paper, make_plan(demo_config())):
        tables = {spec["kind"] for held in plan.papers.values() for spec in held.tables.values()}
        figures = {spec["kind"] for held in plan.papers.values() for spec in held.figures.values()}
        assert (tables, figures) == (set(TABLE_KINDS) - {"methods"}, set(FIGURE_KINDS))
    folder = plan_without_data(config_of("folder.yaml"), ROOT)
    assert folder.papers["folder"].tables["methods"]["kind"] == "methods"  # a paper has one method
    shown = {run.full_name for run in folder.runs_in("folder", folder.papers["folder"].tables["methods"])}
    assert shown == set(folder.runs)


# ---------------------------------------------------------------------------------------------- the mechanism


def written(tmp_path, **paper) -> Path:
    base = {"paper": "p", "title": "t", "seeds": [0], "base": {"backbone": {"name": "npr"}, "epochs": 3}, "runs": {}}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(base | paper))
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({"npr": {"backbone": {"name": "npr"}, "epochs": 50}}))
    return tmp_path


def test_a_baseline_starts_from_its_own_recipe_and_not_from_the_base(tmp_path):
    folder = written(tmp_path, baselines={"include": "b.yaml"}, runs={"a": {"baseline": "npr", "crop": 32}, "b": {}})
    specs = run_specs(build(Paper, read_paper_file("p.yaml", folder), "p"), "p")
    assert specs["a"] == {"backbone": {"name": "npr"}, "epochs": 50, "crop": 32} and specs["b"]["epochs"] == 3
    written(tmp_path, baselines={"include": "b.yaml"}, runs={"a": {"baseline": "nrp"}})
    with pytest.raises(UserError, match="Did you mean 'npr'"):
        run_specs(build(Paper, read_paper_file("p.yaml", folder), "p"), "p")


def test_a_named_base_is_merged_over_the_base_for_runs_and_grids(tmp_path):
    bases = {"low": {"epochs": 5, "optimiser": {"lr": 1.0e-6}, "tests": ["low"]}}
    grids = {"g": {"over": {"crop": [32]}, "base": "low"}}
    folder = written(tmp_path, bases=bases, runs={"a": {"base": "low", "crop": 64}, "b": {}}, grids=grids)
    specs = run_specs(build(Paper, read_paper_file("p.yaml", folder), "p"), "p")
    assert specs["a"] == specs["b"] | bases["low"] | {"crop": 64} and specs["g-32"] == specs["a"] | {"crop": 32}
    both = {"a": {"base": "low", "baseline": "npr"}}
    folder = written(tmp_path, bases=bases, baselines={"include": "b.yaml"}, runs=both)
    specs = run_specs(build(Paper, read_paper_file("p.yaml", folder), "p"), "p")
    assert specs["a"] == {"backbone": {"name": "npr"}} | bases["low"]
    written(tmp_path, bases=bases, runs={"a": {"base": "lo"}})
    with pytest.raises(UserError, match=r"unknown base of p: run a 'lo'.*Did you mean 'low'"):
        run_specs(build(Paper, read_paper_file("p.yaml", folder), "p"), "p")


def test_changes_merge_and_name_only_what_is_there(tmp_path):
    folder = written(tmp_path, runs={"a": {"crop": 32}}, tables={"t": {"rows": [1]}, "u": {}})
    entry = PaperFile(
        file="p.yaml", changes={"runs": {"a": {"flip": False}}, "tables": {"t": {"rows": [2]}}}, tables=("t",)
    )
    data = read_paper_file(entry, folder)
    assert data["runs"] == {"a": {"crop": 32, "flip": False}} and data["tables"] == {"t": {"rows": [2]}}
    with pytest.raises(UserError, match=r"unknown name in changes\.runs of p\.yaml 'aa'.*Did you mean 'a'"):
        read_paper_file(PaperFile(file="p.yaml", changes={"runs": {"aa": {}}}), folder)
    with pytest.raises(UserError, match=r"unknown name in tables of p\.yaml 'v'"):
        read_paper_file(PaperFile(file="p.yaml", tables=("v",)), folder)


def test_a_run_that_looks_like_a_cell_of_a_grid_is_refused(tmp_path):
    grids = {"ratio": {"over": {"crop": [32]}}, "ratio-small": {"over": {"crop": [32]}}}
    folder = written(tmp_path, grids=grids)
    with pytest.raises(UserError, match=r"run ratio-small-32 would be taken for a cell of grid ratio"):
        run_specs(build(Paper, read_paper_file("p.yaml", folder), "p"), "p")


def test_only_the_runs_that_are_shown_and_what_they_start_from_are_left(small):
    assert "rescale/univfd" in small.runs and "rescale/univfd-4-shot" in small.runs
    assert "rescale/gan" not in small.runs and not any(name.startswith("mpft/ufd") for name in small.runs)
    wanted = {"clip-vit-l14", "clip-rn50", "resnet50", "blip", "glip-t", "bert-base-uncased", "none"}
    assert set(small.networks_needed()) - {NLTK} == wanted  # nothing of LLaVA and BLIP-2


AP = {"ap_fake", "ap_real"}


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml", "paper-small.yaml"])
def test_average_precision_is_shown_of_both_classes(name):
    for paper, held in make_plan(config_of(name)).papers.items():
        for table, spec in held.tables.items():
            listed = [spec["metric"], *(row["metric"] for row in spec["rows"] if "metric" in row)]
            shown = {one for metric in listed for one in ([metric] if isinstance(metric, str) else metric)}
            assert len(shown & AP) != 1, f"{paper}/{table}"


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml", "paper-small.yaml"])
def test_a_figure_of_average_precision_shows_both_classes_or_has_a_twin(name):
    plan = make_plan(config_of(name))
    for paper, held in plan.papers.items():
        shown = {}
        for figure, spec in held.figures.items():
            if is_made_from_metrics(spec["kind"]):
                settings = plan.figure(paper, figure).settings
                listed = [panel.get("metric", settings["metric"]) for panel in settings.get("panels", [settings])]
                metrics = {one for metric in listed for one in ([metric] if isinstance(metric, str) else metric)}
                shown.setdefault(str(settings["rows"]), set()).update(metrics & AP)
        assert all(len(classes) != 1 for classes in shown.values()), (paper, shown)
