"""The folders: imports go one way, planning needs no torch, and files and functions stay small."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from conftest import ROOT

from tellsign.plan.fingerprint import import_graph

GRAPH = import_graph()

MAY_IMPORT = {
    "fork_server": "__main__ system",
    "__main__": "system",
    "commands": "prediction results evaluation sharing plan schema networks data system",
    "prediction": "evaluation detectors methods networks data schema system",
    "stages": "results evaluation detectors training demo methods networks data system",
    "sharing": "plan system",
    "plan": "schema",
    "results": "evaluation detectors methods networks data schema system",
    "evaluation": "schema data system",
    "detectors": "training methods networks data system schema",
    "demo": "training networks data system",
    "training": "networks data system schema",
    "methods": "networks data system schema",
    "networks": "data system schema",
    "data": "system schema",
    "schema": "",
    "system": "",
}
"""Folder → the folders that it may import, besides itself, the modules of `EVERYWHERE` and registries. A folder names
only folders below it.
"""

EVERYWHERE = {"tellsign", "tellsign.errors", "tellsign.registry", "tellsign.stages.registry"}
"""Modules that import nothing of other folders, and that every folder may import."""

EXCEPTIONS = {
    ("networks.backbones.demo_clip", "demo.towers"): "the demo's towers are backbones, and are trained by the demo",
    ("networks.backbones.demo_xception", "demo.towers"): "the same",
    ("networks.backbones.loading", "demo.weights"): "what `weights: shipped` names",
    ("networks.captioners.demo", "demo.captioner"): "the demo's captioner is trained by the demo",
    ("networks.grounders.demo", "demo.grounder"): "the same",
    ("networks.glip.grounder", "demo.grounder"): "the form of a grounder's answer",
    ("plan.data", "data.benchmarks"): "whose folders hold what must be known before any job",
    ("plan.data", "data.inventory"): "the same",
    ("plan.released", "networks.catalogue"): "the catalogue says what released checkpoints were trained on",
    ("plan.presentation", "results.tables.specification"): "which numbers a table shows must be known before any job",
}
"""(importer, imported) → why it may."""


def folder(module: str) -> str:
    """The folder of a module: ``data`` of ``tellsign.data.images``."""
    return module.split(".")[1]


REGISTRIES = {
    module
    for module in GRAPH.find_modules_that_directly_import("tellsign.registry")
    if folder(module) not in ("plan", "schema")
}
"""Modules that hold a registry or name its records: text and settings, nothing that needs torch."""


def crossings() -> Iterator[tuple[str, str]]:
    """Every import of one folder by another."""
    for module in sorted(GRAPH.modules - EVERYWHERE):
        for imported in sorted(GRAPH.find_modules_directly_imported_by(module) - EVERYWHERE - REGISTRIES):
            if folder(module) != folder(imported):
                yield module.removeprefix("tellsign."), imported.removeprefix("tellsign.")


def test_each_folder_has_its_place_and_names_only_folders_below() -> None:
    found = {folder(module) for module in GRAPH.modules - EVERYWHERE}
    assert found == set(MAY_IMPORT)
    order = list(MAY_IMPORT)
    for name, allowed in MAY_IMPORT.items():
        assert all(order.index(other) > order.index(name) for other in allowed.split()), name


def test_imports_go_one_way() -> None:
    against = {(a, b) for a, b in crossings() if b.split(".")[0] not in MAY_IMPORT[a.split(".")[0]].split()}
    assert against - set(EXCEPTIONS) == set(), "imports against the arrows"


def test_what_every_folder_may_import_imports_no_folder() -> None:
    for module in EVERYWHERE - {"tellsign"}:
        assert set(GRAPH.find_modules_directly_imported_by(module)) <= EVERYWHERE, module


HEAVY = ("torch", "torchvision", "transformers", "open_clip", "timm", "matplotlib", "pandas", "sklearn")


@pytest.mark.parametrize("package", ["plan", "schema", "commands", "registries", "__main__"])
def test_planning_imports_nothing_heavy(package: str) -> None:
    inside = {m for m in GRAPH.modules if m.startswith(f"tellsign.{package}.") or m == f"tellsign.{package}"}
    modules = sorted(REGISTRIES | EVERYWHERE if package == "registries" else inside)
    assert modules
    code = f"import sys\nimport {', '.join(modules)}\nprint(*(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


LONG = {"commands/doctor.py"}
"""Files that may have more than 400 lines; at most six."""


def test_files_are_short() -> None:
    counted = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "src").rglob("*.py")}
    long = {str(path.relative_to(ROOT / "src" / "tellsign")) for path, lines in counted.items() if lines > 400}
    assert long <= LONG and len(LONG) <= 6


def test_no_function_is_tangled() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "C901", "--output-format", "json"]
    command += ["--config", "lint.mccabe.max-complexity=20", "src", "benchmarks", "workflow"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert [(fault["filename"], fault["message"]) for fault in json.loads(done.stdout)] == []
