"""The pages of the documentation: their links, commands and pictures are current."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, demo_config, make_plan

from tellsign.schema.strict_yaml import read_yaml

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "NOTICE"], ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for name in re.findall(r"(?<![\w/])(?:src|config|docs|tests|workflow|benchmarks)/[\w/.-]*[\w]", text):
        assert (ROOT / name).exists() or name == "tests/test_X.py", f"{page.name}: {name}"


def test_readme_names_the_two_commands_and_ci_runs_the_tests_by_it() -> None:
    readme, targets = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    commands = re.findall(r"^(make \w+) ", readme, flags=re.M)
    assert commands == ["make tables", "make test"]
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()
    assert all(re.search(rf"^[\w ]*\b{name.removeprefix('make ')}\b[\w ]*:", targets, flags=re.M) for name in commands)


@pytest.mark.parametrize(("page", "row"), [("CONTRIBUTING.md", r"^\| (.+?) \| .*? \| (.+?) \|$"),
                                          ("docs/architecture.md", r"^\d+\. ((?:`\w+`(?:, )?)+)():")])  # fmt: skip
def test_a_tour_names_every_folder_and_files_that_exist(page: str, row: str) -> None:
    source, named = ROOT / "src" / "tellsign", set()
    for folders, files in re.findall(row, (ROOT / page).read_text(encoding="utf-8"), flags=re.M):
        folder_names = re.findall(r"`(\w+)`", folders)
        named |= set(folder_names)
        for file in re.findall(r"`([\w/.]+)`", files):
            assert (source / folder_names[0] / file).exists(), file
    assert named == {path.parent.name for path in source.glob("*/__init__.py")}


def script(name: str) -> Any:
    """A module of benchmarks."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_baselines_are_current() -> None:
    baselines = script("baselines")
    page = baselines.PAGE.read_text(encoding="utf-8")
    assert page == baselines.written(page), "run: python benchmarks/baselines.py --write"
    rows = dict(re.findall(r"^\| `(\S+)` \| (.+) \|$", page, flags=re.M))
    assert set(read_yaml(ROOT / "config" / "papers" / "baselines.yaml")) <= set(rows)
    assert baselines.written(page.replace("random weights, head", "pre-trained, head")) == page


def test_the_picture_of_the_architecture_is_current() -> None:
    architecture = script("architecture")
    drawn = architecture.picture(make_plan(demo_config()).everything())
    assert architecture.PICTURE.read_text(encoding="utf-8") == drawn, "run: make picture"
    for stage in architecture.STAGES.values():
        assert (f">{stage.name}</text>" in drawn) == (stage.name != "demo_weights")


def test_the_citation_names_the_four_papers_and_the_version() -> None:
    import tellsign

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == tellsign.__version__ and cited["license"] == "Apache-2.0"
    readme = (ROOT / "README.md").read_text()
    numbers = {one["value"] for paper in cited["references"] for one in paper.get("identifiers", ())}
    assert len(cited["references"]) == 4
    assert numbers == {f"arXiv:{number}" for number in re.findall(r"arxiv\.org/abs/([\d.]+)", readme)}
