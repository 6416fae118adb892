"""A configuration as the commands for people read it: a file and ``--config KEY=VALUE``, as Snakemake takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tellsign.errors import UserError
from tellsign.recipe import read_yaml


def read_configuration(configfile: Path, given: Sequence[str]) -> dict[str, Any]:
    """The values of a configuration file, those of ``--config`` in their place; what is null is left out.

    Raises:
        UserError: the file is missing or no mapping, or a pair is none.
    """
    stored = read_yaml(configfile)
    if not isinstance(stored, dict):
        raise UserError(f"{configfile}: expected a mapping, got {stored!r}.")
    values = {key: value for key, value in stored.items() if value is not None}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--config expects KEY=VALUE, such as root=PATH, got {pair!r}.")
        values[key] = value
    return values
