"""Write the JSON schemas of everything in config/, by which editors complete and check YAML.

The first line of a file names its schema: ``# yaml-language-server: $schema=schema/configuration.json``.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path
from typing import Any, Union

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from tellsign.commands.rates import Rates
from tellsign.detectors.recipes.base import Recipe
from tellsign.detectors.registry import METHODS, recipe_class
from tellsign.results.figures.kinds import FIGURE_KINDS
from tellsign.schema.config import Config
from tellsign.schema.data import Benchmark
from tellsign.schema.detectors import DetectorRecord
from tellsign.schema.fields import Named
from tellsign.schema.paper import Paper
from tellsign.schema.tables import Table
from tellsign.schema.weights import WeightsEntry
from tellsign.system.files import write_text

JsonSchema = dict[str, Any]


def main(*, out: Path = Path("config/schema")) -> int:
    """Write a file for each kind of configuration file, and say which of them changed.

    Args:
        out: Folder of the schemas.
    """
    texts = {
        f"{name}.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n" for name, schema in schemas().items()
    }
    changed = []
    for name, text in texts.items():
        file = out / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            write_text(file, text)
            changed.append(name)
    listed = f": {', '.join(changed)}" if changed else ""
    sys.stdout.write(f"{out}: {len(texts)} files, {len(changed)} changed{listed}\n")
    return 0


def schemas() -> dict[str, JsonSchema]:
    """The schemas by the name of their file."""
    configuration, benchmarks = schema_of(Config), schema_of(Named[Benchmark])
    # what `tellsign.plan` reads before a configuration is checked
    partial = {key: part for key, part in configuration["$defs"]["Benchmark"].items() if key != "required"}
    configuration["$defs"]["PartialBenchmark"] = partial
    configuration["anyOf"] = [{"required": configuration.pop("required")}, {"required": ["name", "extends"]}]
    configuration["properties"]["benchmarks"] = either(
        configuration["properties"]["benchmarks"],
        {"type": "string", "description": "A file of benchmarks."},
        {
            "type": "object",
            "properties": {"include": {"type": "string", "description": "A file over which the rest is merged."}},
            "required": ["include"],
            "additionalProperties": {"$ref": "#/$defs/PartialBenchmark"},
        },
    )
    paper, recipes, tables = schema_of(Paper), partial_recipes(), schema_of(Named[Table])
    figures = schema_of(Named[Union[tuple(FIGURE_KINDS.settings().values())]])  # pyright: ignore  # noqa: UP007
    # runs and the like say only what differs; `tellsign.schema.paper_files` merges them before they are checked
    paper["$defs"] |= recipes["$defs"] | tables["$defs"] | figures["$defs"]
    run = recipes["additionalProperties"]
    for section in ("runs", "grids", "bases", "baselines", "released"):
        paper["properties"][section] |= {"additionalProperties": run}
    paper["properties"]["base"] |= run
    for section, shown in (("tables", tables), ("figures", figures)):
        paper["properties"][section] |= {"additionalProperties": shown["additionalProperties"]}
    for section in ("baselines", "released"):
        included = {"include": {"type": "string", "description": "A file of recipes."}}
        paper["properties"][section]["properties"] = included
    return {
        "configuration": configuration,
        "paper": paper,
        "recipes": recipes,
        "benchmarks": benchmarks,
        "weights": schema_of(Named[WeightsEntry]),
        "detectors": schema_of(Named[DetectorRecord]),
        "rates": schema_of(Rates),
    }


class Described(GenerateJsonSchema):
    """JSON schemas whose descriptions are those of the classes' docstrings, without titles that repeat names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never: the key says it."""
        return False

    def model_schema(self, schema: Any) -> JsonSchema:
        """With what stands under ``Attributes`` at each property."""
        described = super().model_schema(schema)
        text, attributes = read_docstring(schema["cls"].__doc__ or "")
        described["description"] = text
        for base in schema["cls"].__mro__[1:]:  # what a class inherits is described there
            attributes = read_docstring(base.__doc__ or "")[1] | attributes
        for name, field in described["properties"].items():
            if name in attributes:
                field["description"] = attributes[name]
        return described


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The prose of a docstring on one line, and the description of each attribute.

    ``a, b: Text.`` describes both.
    """
    prose, _, section = text.partition("Attributes:\n")
    attributes: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if begun := re.match(r" {8}(\w+(?:, \w+)*): (.*)", line):
            names = begun[1].split(", ")
            attributes |= dict.fromkeys(names, begun[2])
        elif line.strip():
            attributes |= {name: f"{attributes[name]} {line.strip()}" for name in names}
    return " ".join(prose.split()), attributes


def schema_of(kind: Any) -> JsonSchema:
    """The schema of a class of settings, or of a mapping of them."""
    return {"$schema": Described.schema_dialect} | TypeAdapter(kind).json_schema(schema_generator=Described)


def either(*schemas: JsonSchema) -> JsonSchema:
    """What fits one of several schemas."""
    return {"anyOf": list(schemas)}


def partial_recipes() -> JsonSchema:
    """The schema of a mapping of recipes that say only what differs from another: no key must be there."""
    methods: dict[type[Recipe], list[str]] = {}
    for name in METHODS:
        methods.setdefault(recipe_class(name, "the schema"), []).append(name)
    kinds = [copy.deepcopy(schema_of(kind)) for kind in methods]
    definitions = {name: definition for kind in kinds for name, definition in kind.pop("$defs").items()}
    beside = {
        "base": {"type": "string", "description": "One of `bases`: merged over what it starts from."},
        "baseline": {"type": "string", "description": "Starts from this recipe of `baselines` instead of from `base`."},
        "seeds": {"type": "array", "items": {"type": "integer"}, "description": "Instead of the paper's."},
        "tests": {"type": "array", "items": {"type": "string"}, "description": "Its test sets."},
        "over": {"type": "object", "description": "Of a grid: dotted fields → lists of values; a run for each."},
    }
    for kind, names in zip(kinds, methods.values(), strict=True):
        del kind["$schema"]
        kind["properties"] |= beside
        kind["properties"]["method"]["enum"] = names
    for definition in (*kinds, *definitions.values()):
        definition.pop("required", None)
    text = "Recipes; each says what differs from the one that it starts from."
    return {
        "$schema": Described.schema_dialect,
        "description": text,
        "type": "object",
        "additionalProperties": renamed(either(*kinds, {"type": "null"})),
        "$defs": {f"Partial{name}": definition for name, definition in renamed(definitions).items()},
    }


def renamed(node: Any) -> Any:
    """The same with references to partial definitions, which stand beside the whole ones."""
    if isinstance(node, dict):
        return {
            key: value.replace("#/$defs/", "#/$defs/Partial") if key == "$ref" else renamed(value)
            for key, value in node.items()
        }
    return [renamed(value) for value in node] if isinstance(node, list) else node
