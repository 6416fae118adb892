"""docs/decisions.md names fields that exist, and each of its decisions names one."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tellsign.data.perturbations import PERTURBATIONS
from tellsign.detectors.registry import RECIPES
from tellsign.results.figures.kinds import FIGURE_KINDS
from tellsign.schema import data
from tellsign.schema.annotation import Annotate
from tellsign.schema.evaluation import Evaluate
from tellsign.schema.loading import build, differences, merge, plain
from tellsign.schema.settings import ByName, Settings
from tellsign.schema.tables import Table, table_settings
from tellsign.schema.training import Pretrain

PAGE = (Path(__file__).parents[1] / "docs" / "decisions.md").read_text(encoding="utf-8")
SECTIONS: dict[str, tuple[type, ...]] = {
    "evaluate": (Evaluate,),
    "splits": (data.Split,),
    "benchmarks": (data.Benchmark,),
    "pretrain": (Pretrain,),
    "annotate": (Annotate,),
    "tests": (data.Test,),
}


def classes(hint: Any) -> Iterator[type]:
    """The settings that a field may hold."""
    if isinstance(hint, ByName):
        yield from hint.registry.values()
    elif isinstance(hint, type) and issubclass(hint, Settings):
        yield hint
    for part in typing.get_args(hint):
        yield from classes(part)


def exists(name: str) -> bool:
    first, _, rest = name.partition(".")
    if first == "tables":
        return rest in Table.model_fields
    if first == "figures":
        return any(rest in cls.model_fields for cls in FIGURE_KINDS.settings().values())
    owners: tuple[type, ...] = SECTIONS.get(first, ())
    parts = rest.split(".") if owners else name.split(".")
    owners = owners or tuple(RECIPES.load(method) for method in RECIPES)
    for number, part in enumerate(parts):
        if part == "options":
            taken = {key for one in PERTURBATIONS for key in inspect.signature(PERTURBATIONS.load(one)).parameters}
            return set(parts[number + 1 :]) <= taken
        hints = [typing.get_type_hints(owner, include_extras=True) for owner in owners]
        types = [fields[part] for fields in hints if part in fields]
        if not types:
            return False
        owners = tuple(one for hint in types for one in classes(hint))
    return True


DECISIONS = re.findall(r"^### (.+)\n((?:.+\n)+)", PAGE, flags=re.M)


@pytest.mark.parametrize(("title", "text"), DECISIONS, ids=[title for title, _ in DECISIONS])
def test_a_decision_ends_with_fields_that_exist(title: str, text: str) -> None:
    last = text.strip().splitlines()[-1]
    assert last.startswith("Field: `"), f"{title} ends without its field"
    for name in re.findall(r"`([^`]+)`", last):
        assert exists(name), f"{title}: there is no field {name!r}; was it renamed?"


def test_the_page_has_a_decision_under_every_heading_and_no_two_alike() -> None:
    titles = [title for title, _ in DECISIONS]
    assert len(titles) == len(set(titles)) == PAGE.count("\n### ") > 40


def test_a_field_that_does_not_exist_is_noticed() -> None:
    assert exists("mask.ratio") and exists("annotate.captioner.beams") and exists("tests.perturbation.options.variant")
    for name in ("mask.ration", "evaluate.treshold", "annotate.captioner.beam", "tests.perturbation.options.varied",
                 "tables.checkpoints", "figures.sed", "crop.size"):  # fmt: skip
        assert not exists(name), name


def test_the_example_of_the_page_is_a_table() -> None:
    import yaml

    (example,) = re.findall(r"```yaml\n(.+?)```", PAGE, flags=re.S)
    spec = yaml.safe_load(example)["tables"]["protocols"]
    base = Evaluate()
    for row in spec["rows"]:
        change = row.get("protocol", {})
        named = build(Evaluate, merge(plain(base), change), row["label"])
        row["protocol"] = differences(named, base)
    rows = table_settings(spec | {"paper": "mpft", "name": "protocols"})["rows"]
    assert len({(row["select"].get("protocol"), row["select"].get("checkpoint")) for row in rows}) == 8
