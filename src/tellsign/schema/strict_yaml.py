"""YAML read strictly.

ruamel.yaml refuses doubled keys and reads ``1e-4`` as well, but follows YAML 1.2, where ``no`` is a text. Snakemake
reads the same configuration by PyYAML, where it is false, and one file must not mean two things.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tellsign.errors import UserError, near_miss


class _StrictLoader(yaml.SafeLoader):
    """YAML with doubled keys refused and ``1e-4`` read as the number it is."""


def _no_doubles(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise UserError(f"{node.start_mark.name}, line {key_node.start_mark.line + 1}: key {key!r} stands twice.")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _no_doubles)


def read_yaml(path: Path) -> Any:
    """Read a YAML file safely.

    Raises:
        UserError: there is no such file, or it is not YAML.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            return yaml.load(stream, Loader=_StrictLoader)
    except FileNotFoundError:
        near = near_miss(path.name, [p.name for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else [])
        raise UserError(f"there is no configuration file {path}.{near}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give one of the YAML files in it.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} is not valid YAML: {problem}") from None
