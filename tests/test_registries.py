"""A fingerprint follows the entry that is chosen: adding one moves nothing, editing one moves exactly its users."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, demo_config, make_plan

from tellsign.data.augmentations import AUGMENTATIONS
from tellsign.data.layouts import LAYOUTS
from tellsign.data.perturbations import PERTURBATIONS
from tellsign.detectors.registry import METHODS
from tellsign.errors import UserError
from tellsign.evaluation.metrics import METRICS
from tellsign.methods.masks import MASKS
from tellsign.networks.backbones import BACKBONES, CLIPS
from tellsign.networks.captioners import CAPTIONERS
from tellsign.networks.grounders import GROUNDERS
from tellsign.networks.heads import HEADS
from tellsign.plan import fingerprint
from tellsign.registry import Record, Registry
from tellsign.results.figures.kinds import FIGURE_KINDS
from tellsign.training.optimisers import OPTIMISERS
from tellsign.training.schedules import SCHEDULES

REGISTRIES = [
    MASKS,
    METRICS,
    BACKBONES,
    CLIPS,
    METHODS,
    HEADS,
    OPTIMISERS,
    SCHEDULES,
    FIGURE_KINDS,
    AUGMENTATIONS,
    CAPTIONERS,
    GROUNDERS,
    PERTURBATIONS,
    LAYOUTS,
]
NOT_OPTIONS = {"name", "kind", "warmup"}


def named(registry: Registry) -> str:
    return registry.kind


def artifacts() -> dict[tuple[str, str], typing.Any]:
    """All artifacts of the demo by stage and name."""
    return {(a.stage, a.name): a for a in make_plan(demo_config()).everything().values()}


@pytest.fixture(scope="module")
def demo():
    return artifacts()


def moved(before: dict, after: dict) -> set[tuple[str, str]]:
    """Artifacts whose fingerprint changed."""
    return {key for key, one in before.items() if one.fingerprint != after[key].fingerprint}


def with_followers(before: dict, users: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Some artifacts and all that need one of them, however indirectly."""
    found, size = set(users), 0
    while len(found) != size:
        size = len(found)
        found |= {
            key
            for key, one in before.items()
            if any((need.stage, need.name) in found for inputs in one.needs.values() for _, need in inputs)
        }
    return found


def edited(monkeypatch, *modules: str) -> dict[tuple[str, str], typing.Any]:
    """All artifacts of the demo as they would be after an edit of these modules."""
    real = fingerprint.module_digest
    monkeypatch.setattr(fingerprint, "module_digest", lambda m: "edited" if m in modules else real(m))
    fingerprint.code_digest.cache_clear()
    try:
        after = artifacts()
        assert [a.fingerprint for a in after.values()]  # taken while the edit stands
        return after
    finally:
        fingerprint.code_digest.cache_clear()


DEMO_CLIPS = {"demo-clip-vit", "demo-clip-rn"}
"""Networks of one file."""


def backbones_of(artifact) -> set[str]:
    """The backbones that an artifact's job builds: its own, or those of the checkpoints that it loads."""
    if artifact.stage in ("train", "pretrain"):
        return {artifact.settings["backbone"]["name"]}
    loaded = [*artifact.needs.get("checkpoints", []), *artifact.needs.get("encoders", [])]
    return {name for _, one in loaded for name in backbones_of(one)} if artifact.stage in ("score", "figure") else set()


def heads_of(artifact) -> set[str]:
    """The heads that an artifact's job builds: its own, or those of the checkpoints that it loads."""
    if artifact.stage in ("train", "train_head"):
        return {artifact.settings["head"]["name"]}
    stages = ("score", "score_head", "figure")
    loaded = artifact.needs.get("checkpoints", []) if artifact.stage in stages else []
    return {name for _, one in loaded for name in heads_of(one)}


def perturbation_of(artifact) -> str | None:
    """What an artifact's job does to decoded images."""
    return artifact.settings["perturbation"]["name"] if artifact.stage == "crops" else None


@pytest.mark.parametrize(
    ("registry", "entry", "uses"),
    [
        (MASKS, "cutout", lambda a: a.stage == "train" and a.settings["mask"]["name"] == "cutout"),
        (LAYOUTS, "photos", lambda a: a.stage == "index" and a.settings["layout"] == "photos"),
        (OPTIMISERS, "adam", lambda a: a.settings.get("optimiser", {}).get("name") == "adam"),
        (OPTIMISERS, "adamw", lambda a: a.settings.get("optimiser", {}).get("name") == "adamw"),
        (SCHEDULES, "step", lambda a: a.settings.get("schedule", {}).get("kind") == "step"),
        (MASKS, "none", lambda a: a.stage == "train" and a.settings["mask"]["name"] == "none"),
        (METHODS, "image", lambda a: a.stage in ("train", "score")),
        (METHODS, "features", lambda a: a.stage in ("train_head", "score_head")),
        (PERTURBATIONS, "tidy-jpeg", lambda a: perturbation_of(a) == "tidy-jpeg"),
        (PERTURBATIONS, "crop", lambda a: perturbation_of(a) in ("crop", "combined")),
        (AUGMENTATIONS, "none", lambda a: a.stage == "train"),
        (HEADS, "nearest", lambda a: "nearest" in heads_of(a)),
        (HEADS, "mlp2", lambda a: "mlp2" in heads_of(a)),
        (CAPTIONERS, "demo", lambda a: a.stage == "caption"),
        (GROUNDERS, "demo", lambda a: a.stage == "ground"),
        (METRICS, "auc", lambda a: a.stage == "evaluate"),
        (BACKBONES, "demo-xception", lambda a: "demo-xception" in backbones_of(a)),
        (FIGURE_KINDS, "heat_map", lambda a: a.stage == "figure" and a.settings["kind"] == "heat_map"),
        (CLIPS, "demo-clip-vit", lambda a: a.stage == "embed" or DEMO_CLIPS & backbones_of(a)),
    ],
)
def test_an_edited_entry_moves_exactly_its_users(
    demo, registry: Registry, entry: str, uses: Callable[[typing.Any], bool], monkeypatch
):
    users = {key for key, one in demo.items() if uses(one)}
    assert users
    assert moved(demo, edited(monkeypatch, registry[entry].module)) == with_followers(demo, users) != set(demo)


@pytest.mark.parametrize("registry", REGISTRIES, ids=named)
def test_an_added_entry_moves_nothing(demo, registry: Registry, monkeypatch):
    monkeypatch.setitem(registry.records, "new", Record("tellsign.plan.fingerprint", "closure"))
    assert moved(demo, artifacts()) == set()


@pytest.mark.parametrize("registry", REGISTRIES, ids=named)
def test_every_entry_has_its_function_and_its_settings(registry: Registry):
    for name, record in registry.items():
        assert callable(registry.load(f"{name}x" if name.endswith(":") else name)), name
        if record.settings:
            hints = typing.get_type_hints(registry.settings()[name])
            assert name in typing.get_args(hints["kind" if registry in (SCHEDULES, FIGURE_KINDS) else "name"])


@pytest.mark.parametrize("registry", [AUGMENTATIONS, HEADS, MASKS, OPTIMISERS, SCHEDULES], ids=named)
def test_defaults_stand_in_the_settings_alone(registry: Registry):
    for name in registry:
        options = [p for p in inspect.signature(registry.load(name)).parameters.values() if p.kind == p.KEYWORD_ONLY]
        assert {p.name for p in options} == set(typing.get_type_hints(registry.settings()[name])) - NOT_OPTIONS
        assert all(p.default is p.empty for p in options)


@pytest.mark.parametrize("registry", REGISTRIES, ids=named)
def test_registries_are_neutral_and_no_module_imports_an_entry(registry: Registry):
    graph = fingerprint.import_graph()
    for record in registry.values():
        assert not fingerprint.is_neutral(record.module)
        neighbours = {other.module for other in registry.values()}  # one may be made of another
        assert graph.find_modules_that_directly_import(record.module) <= neighbours, record.module


def test_an_unknown_name_is_refused_with_the_near_miss():
    with pytest.raises(UserError, match=r"unknown mask 'cutoff'.*Did you mean 'cutout'"):
        MASKS.load("cutoff")


def test_a_records_options_are_bound_and_enter_the_fingerprint(demo, monkeypatch):
    record = MASKS["cutout"]
    monkeypatch.setitem(MASKS.records, "cutout", Record(record.module, record.attribute, record.settings, {"ratio": 1}))
    assert MASKS.load("cutout").keywords == {"ratio": 1}
    users = {key for key, one in demo.items() if MASKS["cutout"] in one.entries or record in one.entries}
    assert users and moved(demo, artifacts()) == with_followers(demo, users)


SHOW = """
import sys
sys.path.insert(0, "tests")
from conftest import demo_config, make_plan
from tellsign.schema.strict_yaml import read_yaml
from pathlib import Path
import tellsign
assert Path(tellsign.__file__).is_relative_to(Path.cwd())
for config in (demo_config(), read_yaml(Path("config/paper.yaml")) | {"data": "nowhere"}):
    print(*sorted(make_plan(config).everything()), sep="\\n")
"""


def paths_of(tree: Path) -> list[str]:
    """Paths of all artifacts of the demo and of the papers, as a checkout plans them."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    command = [sys.executable, "-c", SHOW]
    done = subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def add(file: Path, before: str, line: str) -> None:
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, line + before))


def test_a_new_file_and_a_new_line_move_no_artifact_of_the_demo_and_of_the_papers(tmp_path):
    """A mask that nobody uses used to move 95 jobs of the demo, a line for a backbone 108."""
    for name in ("src", "config", "tests/conftest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile)(ROOT / name, tmp_path / name)
    before = paths_of(tmp_path)
    assert len(before) > 1000
    masks = tmp_path / "src" / "tellsign" / "methods" / "masks"
    new = (masks / "cutout.py").read_text().replace("cutout", "cut_away").replace("CutOut", "CutAway")
    (masks / "cut_away.py").write_text(new)
    line = '        "cut_away": Record("tellsign.methods.masks.cut_away", "cut_away", settings="CutAway"),\n'
    add(masks / "__init__.py", '        "cutout"', line)
    backbones = tmp_path / "src" / "tellsign" / "networks" / "backbones" / "__init__.py"
    add(backbones, '        "resnet50"', '        "resnet18": _timm("resnet18", map_layer="layer4", **_IMAGENET),\n')
    assert paths_of(tmp_path) == before
