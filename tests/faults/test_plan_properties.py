"""Laws of the plan: an edit of any leaf moves exactly the stages that read it, and nothing else ever moves anything."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, demo_config, make_plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scale import scaled

from tellsign.errors import UserError
from tellsign.plan import fingerprint
from tellsign.plan.artifact import digest
from tellsign.plan.plan import Plan

PAPERS = ("mpft", "lol", "rescale", "tidy")
ROUNDS = settings(
    max_examples=scaled(8, 300), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
Way = tuple[Any, ...]


def loaded() -> dict[str, Any]:
    """The demo's configuration and its papers, by file."""
    return {"config": demo_config()} | {
        name: yaml.safe_load((ROOT / "config" / "demo" / f"{name}.yaml").read_text()) for name in PAPERS
    }


def plan_of(files: dict[str, Any], folder: Path) -> Plan:
    """The plan of edited files, written anew in their present order of keys."""
    shutil.copytree(ROOT / "config" / "published", folder / "config" / "published", dirs_exist_ok=True)
    (folder / "config" / "demo").mkdir(exist_ok=True)
    for name in PAPERS:
        text = yaml.safe_dump(files[name], sort_keys=False)
        (folder / "config" / "demo" / f"{name}.yaml").write_text(f"# a comment\n{text}# another\n")
    return make_plan(copy.deepcopy(files["config"]), folder=folder)


def leaves(node: Any, way: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Every number, text and truth value of plain data, with the way to it."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    if not isinstance(node, (dict, list)):
        yield way, node
    for key, value in pairs:
        yield from leaves(value, (*way, key))


def put(files: dict[str, Any], way: Way, value: Any) -> dict[str, Any]:
    """A copy with one leaf replaced."""
    edited = copy.deepcopy(files)
    node: Any = edited
    for key in way[:-1]:
        node = node[key]
    node[way[-1]] = value
    return edited


FILES = loaded()
NUMBERS = [(w, v) for w, v in leaves(FILES) if isinstance(v, (int, float)) and not isinstance(v, bool)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("plan")


@pytest.fixture(scope="module")
def before(folder) -> Plan:
    return plan_of(FILES, folder)


def prints(plan: Plan) -> dict[tuple[str, str], str]:
    return {(a.stage, a.name): a.fingerprint for a in plan.everything().values()}


class Trees:
    """Numbers that are equal for artifacts whose recipes are equal down to the last leaf; no digest is taken."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def of(self, artifact: Any) -> int:
        needs = [(role, key, self.of(a)) for role, held in sorted(artifact.needs.items()) for key, a in held]
        own = [artifact.recipe["code"], artifact.recipe["settings"], artifact.raw]
        tree = (artifact.stage, json.dumps(own, sort_keys=True), tuple(needs))
        return self.numbers.setdefault(tree, len(self.numbers))

    def all(self, plan: Plan) -> dict[tuple[str, str], int]:
        return {(a.stage, a.name): self.of(a) for a in plan.everything().values()}


@ROUNDS
@given(leaf=st.sampled_from(NUMBERS))
def test_an_edit_of_a_leaf_moves_exactly_what_reads_it_and_what_follows(folder, before, leaf):
    way, value = leaf
    edited = put(FILES, way, value + 1 if isinstance(value, int) else value * 0.5 + 0.01)
    try:
        after = plan_of(edited, folder)
        new = prints(after)
    except UserError:
        return  # such a value cannot be right; nothing is planned
    old, trees = prints(before), Trees()
    was, is_now = trees.all(before), trees.all(after)
    for key in new.keys() & old.keys():
        assert (new[key] == old[key]) == (is_now[key] == was[key]), key
    moved = {stage for stage, name in new if old.get((stage, name)) != new[stage, name]}
    assert READ_BY.get(way[:3], set()) <= moved


# Who must move at least, told by hand: a stage that forgot to read its setting would pass the law above.
READ_BY: dict[Way, set[str]] = {
    ("config", "evaluate", "threshold"): {"evaluate", "table", "report"},
    ("config", "evaluate", "resamples"): {"evaluate", "table", "report"},
    ("config", "splits", "test"): {"split", "crops", "score", "evaluate", "table"},
    ("config", "splits", "train"): {"split", "crops", "train", "score", "table"},
    ("config", "splits", "photos"): {"split", "crops", "pretrain", "train"},
    ("config", "demo", "photos"): {"demo_photos"},
    ("config", "demo", "generators"): {"demo_generator", "index", "split"},
    ("mpft", "base", "mask"): {"train", "score", "evaluate", "table"},
    ("mpft", "base", "crop"): {"crops", "train", "score"},
    ("lol", "base", "batch_size"): {"train", "score"},
    ("tidy", "base", "epochs"): {"train_head", "score_head"},
    ("rescale", "pretrain", "encoder"): {"pretrain", "train", "score"},
}


def test_the_stages_told_by_hand_have_leaves():
    ways = {way[:3] for way, _ in NUMBERS}
    assert not {way for way in READ_BY if way not in ways and way[:2] not in {w[:2] for w in ways}}


def shuffled(node: Any, draws: random.Random) -> Any:
    """The same data with the keys of every mapping in another order."""
    if isinstance(node, dict):
        keys = list(node)
        draws.shuffle(keys)
        return {key: shuffled(node[key], draws) for key in keys}
    return [shuffled(value, draws) for value in node] if isinstance(node, list) else node


ORDERED = ("papers", "tables", "figures", "runs", "grids", "tests", "generators", "subsets")
"""Where the order of keys is an order of rows."""


def shuffled_settings(node: Any, draws: random.Random) -> Any:
    """`shuffled`, but the order of what is shown in that order stays."""
    if isinstance(node, dict):
        keys = list(node)
        draws.shuffle(keys)
        return {k: node[k] if k in ORDERED else shuffled_settings(node[k], draws) for k in keys}
    return [shuffled_settings(value, draws) for value in node] if isinstance(node, list) else node


@ROUNDS
@given(seed=st.integers(0, 2**32))
def test_the_order_of_keys_and_comments_move_nothing(folder, before, seed):
    assert prints(plan_of(shuffled_settings(FILES, random.Random(seed)), folder)) == prints(before)


@ROUNDS
@given(
    name=st.sampled_from(["OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HOME", "LANG", "TZ"]),
    value=st.sampled_from(["", "0", "1", "7", "C", "/nowhere"]),
)
def test_settings_of_the_machine_move_nothing(folder, before, name, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        assert prints(plan_of(FILES, folder)) == prints(before)


@settings(max_examples=scaled(50, 1000), deadline=None, derandomize=True)
@given(
    data=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    ),
    seed=st.integers(0, 2**32),
)
def test_a_digest_is_of_the_data_whatever_the_order_of_its_keys(data, seed):
    assert digest(data) == digest(shuffled(data, random.Random(seed)))
    for way, value in leaves({"data": data}):
        other = put({"data": data}, way, f"{value}~")
        assert digest(other["data"]) != digest(data)


@settings(max_examples=scaled(25, 300), deadline=None, derandomize=True)
@given(
    comment=st.text(st.characters(codec="ascii", exclude_characters="\n\r\f\x00"), max_size=40), lines=st.integers(0, 5)
)
def test_comments_and_blank_lines_of_code_move_nothing(comment, lines):
    import ast

    text = (ROOT / "src" / "tellsign" / "methods" / "masks" / "texture_aware.py").read_text()
    where = text.index("\n\n\ndef ")
    dressed = f"{text[:where]}\n# {comment}" + "\n" * (lines + 2) + text[where:]
    plain = [ast.dump(fingerprint.without_docstrings(ast.parse(t))) for t in (text, dressed)]
    assert plain[0] == plain[1]
