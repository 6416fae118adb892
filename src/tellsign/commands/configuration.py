"""The plan of a configuration: for commands, of a file and ``--config KEY=VALUE``; for rules, of given values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tellsign.commands.supply import all_shortfalls, short_report
from tellsign.data.inventory import FileDigests, watched_images
from tellsign.errors import UserError, choose, near_miss
from tellsign.networks.weights import open_catalogue
from tellsign.plan.artifact import Artifact
from tellsign.plan.configuration import WANTED
from tellsign.plan.networks import FindWeights
from tellsign.plan.plan import Plan
from tellsign.schema.strict_yaml import read_yaml
from tellsign.schema.weights import ResolvedWeights
from tellsign.stages.registry import STAGES

CACHE = Path("cache/files.json")
"""Digests of files that have not changed since."""


def read_configuration(configfile: Path, given: Sequence[str]) -> dict[str, Any]:
    """The values of a configuration file, those of ``--config`` in their place; what is null is left out.

    Raises:
        UserError: the file is missing or no mapping, or a pair is none.
    """
    if not (Path("config").is_dir() or configfile.exists()):
        raise UserError(f"there is no {configfile} here. Run this in the top folder of your clone.")
    if not configfile.exists():
        known = sorted(path.as_posix() for path in configfile.parent.glob("*.yaml"))
        listed = ", ".join(known) or "none"
        raise UserError(f"there is no file {configfile}.{near_miss(configfile.as_posix(), known)} Known: {listed}.")
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
    digests = FileDigests(CACHE)
    return plan_with_data(read_configuration(configfile, given), Path(), digests, open_catalogue(Path(), digests).find)


def plan_with_data(values: Mapping[str, Any], folder: Path, digests: FileDigests, find_weights: FindWeights) -> Plan:
    """A plan that digests images and weights as they are; values that are null are left out."""
    given = {key: value for key, value in values.items() if value is not None}
    return Plan(given, watched_images, digests, find_weights, folder)


def plan_without_data(values: Mapping[str, Any], folder: Path = Path()) -> Plan:
    """A plan that looks at neither images nor weights; values of ``--config`` that are not given are made up."""
    given = {key: value for key, value in values.items() if value is not None}
    return Plan(
        dict(WANTED) | given,
        look=lambda _roots, _exclude, _watch: {},
        file_digest=lambda _path: "",
        find_weights=lambda value, _network: ResolvedWeights(value, value),  # other weights are another training
        folder=folder,
    )


def unknown_fingerprints(plan: Plan, targets: Iterable[Artifact]) -> str:
    """Which folders and weights that are missing the targets' fingerprints follow from, a line each; empty for none."""
    weights, folders = plan.missing_inputs(targets)
    return "\n".join(
        [*(f"no folder {path}" for path in sorted(folders)), *(f"no weights {w}" for w in sorted(weights))]
    )


@dataclass(frozen=True)
class Request:
    """How Snakemake was called.

    Attributes:
        targets: Rules and files that it was asked for.
        dry_run: No job will start.
        in_job: A job runs Snakemake again, for one artifact of a run that has been let through.
    """

    targets: Collection[str]
    dry_run: bool
    in_job: bool


def plan_for_rules(values: Mapping[str, Any], folder: Path, request: Request) -> tuple[Plan, dict[str, Artifact], str]:
    """The plan of a configuration that Snakemake has read.

    Args:
        values: The configuration's values; what is null is left out.
        folder: The top folder of the working tree.
        request: How Snakemake was called.

    Returns:
        The plan, all of its artifacts by path, and what a dry run should warn of.

    Raises:
        UserError: anything in the configuration or among the targets that cannot be right; or jobs would start, and
            weights or folders of images that they need are not there, or hold too few images.
    """
    digests = FileDigests(CACHE)
    catalogue = open_catalogue(folder, digests)
    plan = plan_with_data(values, folder, digests, catalogue.find)
    rows = [plan.row(target) for target in plan.rows()]  # their inputs are the whole tables' own
    artifacts = plan.everything() | {made.path: made for made in rows}
    if request.in_job:
        return plan, artifacts, ""
    asked = wanted(plan, request.targets) or list(artifacts.values())
    weights, folders = plan.missing_inputs(asked)
    missing = [plan.missing_data_report(folders)] if folders else []
    if short := all_shortfalls(plan, folder, asked):
        missing.append(short_report(short, plan.config.benchmarks))
    if weights:
        try:
            needed = {value: users for value, users in plan.networks_needed().items() if value in weights}
            catalogue.require(needed)
        except UserError as problem:
            missing.append(str(problem))
    if missing and not request.dry_run:
        raise UserError("\n\n".join(missing))
    if missing:
        missing.append("This is a dry run; jobs start only when nothing is missing.")
    return plan, artifacts, "\n\n".join(missing)


def wanted(plan: Plan, targets: Collection[str]) -> list[Artifact]:
    """Artifacts that targets name: papers, tables and figures; none where a target stands for more than these.

    Raises:
        UserError: there is no such table or figure; Snakemake itself would name no near miss.
    """
    known = plan.targets_and_rows()
    several = ("tables", "figures", "report", "all")
    for target in targets:
        if re.fullmatch(r"[\w-]+", target) and target not in STAGES and not Path(target).exists():
            choose(known | {name: [] for name in several}, target, "target")
    if {*several} & set(targets):
        return []
    return [artifact for target in targets for artifact in known.get(target, [])]
