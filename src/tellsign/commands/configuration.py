"""A configuration as the commands for people read it: a file and ``--config KEY=VALUE``, as Snakemake takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tellsign.data.inventory import FileDigests, watched_digests
from tellsign.errors import UserError
from tellsign.networks.weights import open_catalogue
from tellsign.plan.artifact import Artifact
from tellsign.plan.plan import Plan
from tellsign.schema.strict_yaml import read_yaml


def read_configuration(configfile: Path, given: Sequence[str]) -> dict[str, Any]:
    """The values of a configuration file, those of ``--config`` in their place; what is null is left out.

    Raises:
        UserError: the file is missing or no mapping, or a pair is none.
    """
    if not (Path("config").is_dir() or configfile.exists()):
        raise UserError(f"there is no {configfile} here. Run this in the top folder of your clone.")
    stored = read_yaml(configfile)
    if not isinstance(stored, dict):
        raise UserError(f"{configfile}: expected a mapping, got {stored!r}.")
    values = {key: value for key, value in stored.items() if value is not None}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--config expects KEY=VALUE, such as root=PATH, got {pair!r}.")
        values[key] = yaml.safe_load(value)
    return values


def plan_of(configfile: Path, given: Sequence[str]) -> Plan:
    """The plan of a configuration in the current folder; what is missing is noted in it, as in a dry run."""
    digests = FileDigests(Path("cache/files.json"))
    return Plan(
        read_configuration(configfile, given),
        raw_digests=watched_digests,
        file_digest=digests,
        find_weights=open_catalogue(Path(), digests).find,
        folder=Path(),
    )


def unknown_fingerprints(plan: Plan, targets: Iterable[Artifact]) -> str:
    """Which folders and weights that are missing the targets' fingerprints follow from, a line each; empty for none."""
    weights, folders = plan.missing_inputs(targets)
    return "\n".join(
        [*(f"no folder {path}" for path in sorted(folders)), *(f"no weights {w}" for w in sorted(weights))]
    )
