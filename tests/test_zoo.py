"""Detectors beside one another: released checkpoints, the same training images, and all of them in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, make_plan
from small_runs import scored, train_and_val, trained

from tellsign.detectors.registry import METHODS
from tellsign.errors import UserError
from tellsign.networks.catalogue import DETECTORS, read_detectors
from tellsign.plan.configuration import extended
from tellsign.plan.plan import Plan
from tellsign.schema.paper_files import run_specs
from tellsign.schema.strict_yaml import read_yaml

WITHOUT_A_ROW = {"features", "released"}
"""Methods that the miniature does not train: TIDY's, which the demo has, and one that trains nothing."""


def plan_of_file(name: str) -> Plan:
    return make_plan(read_yaml(ROOT / "config" / name))


@pytest.fixture(scope="module")
def miniature() -> Plan:
    return plan_of_file("demo-zoo.yaml")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


@pytest.mark.parametrize("name", ["zoo.yaml", "common.yaml"])
def test_every_run_is_planned_and_shown(name):
    plan = plan_of_file(name)
    shown = {run.full_name for paper in plan.papers.values() for run in plan.runs_in(paper.paper, paper.tables)}
    assert shown == set(plan.runs) and {"table", "figure"} <= {a.stage for a in plan.everything().values()}


def test_the_miniature_is_made_of_the_demo_and_of_every_detector(miniature):
    demo = make_plan(read_yaml(ROOT / "config" / "config.yaml"))
    worlds = [{a.path for a in plan.everything().values() if a.stage.startswith("demo_")} for plan in (miniature, demo)]
    assert worlds[0] and worlds[0] <= worlds[1]
    assert {run.recipe.method for run in miniature.runs.values()} == set(METHODS) - WITHOUT_A_ROW
    table, figure = (getattr(miniature.papers["zoo"], kind) for kind in ("tables", "figures"))
    for shown in (table, figure):
        assert {run.full_name for run in miniature.runs_in("zoo", shown)} == set(miniature.runs)


def test_every_released_checkpoint_of_a_detector_that_runs_is_scored():
    plan = plan_of_file("zoo.yaml")
    specs = run_specs(plan.papers["zoo"], "zoo.yaml")
    runs = {name: record for name, record in read_detectors(ROOT / DETECTORS).items() if record.recipes}
    released = {f"{name}-{short}" for name, record in runs.items() for short in record.checkpoints}
    assert released <= set(plan.networks_needed()) and {str(spec["weights"]) for spec in specs.values()} <= released
    controls = {str(spec["weights"]): set() for spec in specs.values()}
    for spec in specs.values():
        controls[str(spec["weights"])].add(spec["bias"]["control"])
    assert all(found == {"none", "jpeg", "jpeg+size"} for found in controls.values())


def check_run(plan: Plan, name: str, data: Path, folder: Path) -> None:
    """Train and score a run of the miniature on a few small images of one subset."""
    run = plan.run("zoo", name)
    checkpoint, start = plan.checkpoint(run, 0), {}
    for _, first in checkpoint.needs.get("start") or []:
        trained(data, folder / "first", small(first))
        start = {"start": folder / "first"}
    trained(data, folder / "run", small(checkpoint), **start)
    scores = scored(data, folder / "run", plan.score(run))["score"].to_pylist()
    assert len(scores) == 8 and all(0 <= score <= 1 for score in scores)


def small(checkpoint):
    """A training of the images that `small_runs` makes, whose one subset is called ``a``."""
    checkpoint.settings["data"] = {"subsets": ["a"], "count": 8}
    return checkpoint


@pytest.mark.parametrize("name", ["npr", "freqnet"])
def test_a_detector_of_the_miniature_is_trained_and_scored(data, tmp_path, name):
    check_run(plan_of_file("demo-zoo.yaml"), name, data, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", read_yaml(ROOT / "config" / "demo" / "zoo.yaml")["runs"])
def test_every_detector_of_the_miniature_is_trained_and_scored(data, tmp_path, name):
    check_run(plan_of_file("demo-zoo.yaml"), name, data, tmp_path)


def test_a_configuration_extends_a_whole_one(tmp_path):
    (tmp_path / "whole.yaml").write_text("{name: whole, splits: {a: {part: train}}, papers: [x, y], data: null}")
    (tmp_path / "chain.yaml").write_text("{name: chain, extends: whole.yaml}")
    own = {"name": "own", "extends": "whole.yaml", "splits": {"b": {"part": "test"}}, "papers": ["z"]}
    merged = {"name": "own", "splits": {"a": {"part": "train"}, "b": {"part": "test"}}, "papers": ["z"]}
    assert extended(own, tmp_path) == merged and extended(merged, tmp_path) == merged
    with pytest.raises(UserError, match=r"chain\.yaml must be a whole configuration that extends no other"):
        extended({"extends": "chain.yaml"}, tmp_path)
