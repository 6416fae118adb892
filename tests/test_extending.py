"""docs/extending.md: every change applies to a copy of the tree, reruns nothing in the demo's plan, and works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from pipeline import copy_of_tree, snakemake

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)+)", PAGE, flags=re.M))
EXAMPLES = {title: text for title, text in SECTIONS.items() if "```diff" in text}

PLAN = """
import json, sys
sys.path.insert(0, "tests")
from conftest import demo_config, make_plan
runs, config = json.loads(sys.argv[1]), demo_config()
for name, more in json.loads(sys.argv[2]).items():
    config[name] = config[name] | more if isinstance(more, dict) else more
plan = make_plan(config)
made = [*plan.everything().values(), *(plan.score(plan.run("mpft", name)) for name in runs)]
json.dump([one.path for one in made if one.stage != "report"], sys.stdout)  # which shows all tables
"""


def block(text: str, language: str) -> str:
    """The one block of a language in a section, or nothing."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)
    assert len(blocks) <= 1
    return blocks[0] if blocks else ""


def additions(text: str) -> dict[str, Any]:
    """What the YAML of a section adds, in one mapping: a configuration's part and a paper file's stand apart."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.M | re.S)
    return {key: value for block in blocks for key, value in yaml.safe_load(block).items()}


def python(tree: Path, *arguments: str) -> str:
    """Run Python with the copy's own sources; return what it wrote."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def planned(tree: Path, added: Mapping[str, Any]) -> set[str]:
    """Paths of the demo's artifacts, with what is added to its configuration and to the file of MPFT."""
    paper, own = (
        tree / "config" / "demo" / "mpft.yaml",
        {k: added[k] for k in ("baselines", "runs", "tables") if k in added},
    )
    if own:
        stored = yaml.safe_load(paper.read_text(encoding="utf-8"))
        stored |= {key: stored.get(key, {}) | more for key, more in own.items()}
        paper.write_text(yaml.safe_dump(stored, sort_keys=False), encoding="utf-8")
    config = {name: more for name, more in added.items() if name not in own}
    return set(json.loads(python(tree, "-c", PLAN, json.dumps(list(own.get("runs", ()))), json.dumps(config))))


@pytest.fixture(scope="module")
def planned_before() -> set[str]:
    """Paths of the demo's artifacts as things are."""
    return planned(ROOT, {})


def test_the_page_counts_the_files_of_each_change() -> None:
    counts = dict(re.findall(r"^\| \[(.+?)\]\(#.+?\) \| (\d+) \|$", PAGE, flags=re.M))
    touched = {}
    for title, text in EXAMPLES.items():
        files = re.findall(r"^\+\+\+ b/(.+)$", block(text, "diff"), flags=re.M)
        touched[title.lower()] = str(sum(not file.startswith("tests/") for file in files))
    assert counts == touched


@pytest.mark.parametrize("title", EXAMPLES)
def test_a_change_applies_reruns_nothing_and_works(title: str, tmp_path: Path, planned_before: set[str]) -> None:
    change = block(EXAMPLES[title], "diff")
    tree = copy_of_tree(tmp_path / "tree")
    subprocess.run(["git", "apply", "-"], cwd=tree, input=change, text=True, check=True)
    added = additions(EXAMPLES[title])
    paths = planned(tree, added)
    assert paths >= planned_before, "the change reruns something that exists"
    rules = re.findall(r"^\+rule (\w+):$", change, flags=re.M)
    assert (paths > planned_before) == bool(added or rules)
    for rule in rules:
        assert re.search(rf"^{rule} +1$", snakemake(tree, rule, "-n"), flags=re.M)
    files = re.findall(r"^\+\+\+ b/(.+\.py)$", change, flags=re.M)
    python(tree, "-m", "pytest", "-q", *(file for file in files if file.startswith("tests/test_")))
    python(tree, "-m", "ruff", "check", "-q", *files)
