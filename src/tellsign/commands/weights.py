"""List the weights that a configuration needs, where each is, and how to get what is missing.

    tellsign weights                                       for the demo (config/config.yaml): all ship with the package
    tellsign weights --configfile config/folder.yaml       for another configuration
    tellsign weights --configfile FILE --fetch             fetch what is missing
    tellsign weights --all                                 every entry of config/weights.yaml, and every released
                                                           checkpoint of config/detectors.yaml
    tellsign weights --only clip-vit-l14 clip-rn50 --fetch some entries; the doctor names those that a table needs

--verify reads every file again, even if its size and times are unchanged. Weights are in weights/, or in the folder
that the environment variable TELLSIGN_WEIGHTS names. The exit status is 0 when everything is there, 1 when something
is missing or damaged, 2 when the question itself is wrong. docs/weights.md says more.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tellsign.commands.configuration import CACHE, plan_without_data, read_configuration
from tellsign.data.inventory import FileDigests
from tellsign.errors import UserError, choose
from tellsign.networks.hub import fetch_nltk, fetch_snapshot, fetch_url
from tellsign.networks.weights import (
    WeightsCatalogue,
    open_catalogue,
    shopping_list,
    shortened,
    size_of,
    total_size,
)
from tellsign.schema.weights import NLTK, MissingWeightsError, WeightsEntry
from tellsign.system.integrity import sha256_of_file
from tellsign.system.locks import exclusive_lock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One value of ``weights:`` and what came of it; ``problem`` is None when it is there."""

    value: str
    places: tuple[str, ...]
    state: str
    problem: UserError | None = None


def main(
    *,
    configfile: Path = Path("config/config.yaml"),
    config: list[str] | None = None,
    only: list[str] | None = None,
    all: bool = False,
    fetch: bool = False,
    verify: bool = False,
) -> int:
    """List, fetch and verify weights; see the module."""
    catalogue = open_catalogue(Path(), sha256_of_file if verify else FileDigests(CACHE))
    if all or only:
        known = {name: users_of(entry) for name, entry in catalogue.entries.items()}
        needed = {name: choose(known | {NLTK: []}, name, "weights") for name in only} if only else known
        networks: dict[str, set[str]] = {}
        title = "Catalogue of weights (config/weights.yaml, config/detectors.yaml)"
    else:
        plan = plan_without_data(read_configuration(configfile, config or []))
        needed, networks = plan.networks_needed(), plan.networks_by_weights()
        title = f"Weights that {configfile} needs"
    rows = states(catalogue, needed, networks)
    if fetch and any(isinstance(row.problem, MissingWeightsError) for row in rows):
        for problem in fetch_missing(catalogue, [r.value for r in rows if isinstance(r.problem, MissingWeightsError)]):
            log.error("weights: %s", problem)
        rows = states(catalogue, needed, networks)
    sys.stdout.write(f"{title}, kept in {catalogue.folder}/\n\n{table(catalogue, rows)}\n")
    if all:
        sys.stdout.write("`tellsign weights --only NAME` says how to get one, with --fetch it does.\n")
    else:
        sys.stdout.write(summary(rows, needed))
    return int(any(row.problem is not None for row in rows))


def users_of(entry: WeightsEntry) -> list[str]:
    """What stands under "used by": papers, or the detector whose released weights they are."""
    return list(entry.papers) or [f"{entry.detector} as released"]


def states(
    catalogue: WeightsCatalogue, needed: Mapping[str, Sequence[str]], networks: Mapping[str, Collection[str]]
) -> list[Row]:
    """Look for everything that is needed.

    Args:
        catalogue: Where to look.
        needed: Value of ``weights:`` → the places that use it.
        networks: Value of ``weights:`` → the networks that start from it, as far as they are known.
    """
    rows = []
    for value, places in needed.items():
        try:
            resolved = catalogue.find(value)
            for network in sorted(networks.get(value, ())):
                catalogue.find(value, network)
        except MissingWeightsError as problem:
            rows.append(Row(value, tuple(places), problem.state if problem.entry else "missing", problem))
        except UserError as problem:
            rows.append(Row(value, tuple(places), "wrong, see below", problem))
        else:
            known = {"none": "random start", "shipped": "ships with the package"}
            state = "present, now recorded" if resolved.recorded else "present, verified"
            rows.append(Row(value, tuple(places), known.get(value, state if value in catalogue.entries else "present")))
    return rows


def table(catalogue: WeightsCatalogue, rows: Sequence[Row]) -> str:
    """The rows in aligned columns, at most 100 characters wide unless a path is long."""
    cells = [("name", "used by", "licence", "size", "state")]
    for row in rows:
        entry = catalogue.entries.get(row.value)
        facts = (entry.licence, size_of(entry.megabytes)) if entry else ("–", "–")
        state = "incomplete" if row.state.startswith("incomplete") else row.state
        cells.append((row.value, shortened(row.places, 28), facts[0], facts[1], state))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = []
    for name, places, licence, size, state in cells:
        left = f"{name:<{widths[0]}}  {places:<{widths[1]}}  {licence:<{widths[2]}}"
        lines.append(f"{left}  {size:>{widths[3]}}  {state}\n")
    return "".join(lines)


def summary(rows: Sequence[Row], needed: Mapping[str, Sequence[str]]) -> str:
    """What is wrong and what is missing, with the commands that mend it; one line when nothing is."""
    wrong = [str(row.problem) for row in rows if row.problem and not isinstance(row.problem, MissingWeightsError)]
    missing = [row.problem for row in rows if isinstance(row.problem, MissingWeightsError)]
    parts = wrong + ([shopping_list(missing, needed)] if missing else [])
    return "\n\n".join(parts or ["Nothing is missing."]) + "\n"


def fetch_missing(catalogue: WeightsCatalogue, names: Sequence[str]) -> list[UserError]:
    """Fetch entries of the catalogue and NLTK's data; paths, and what has no plain address, are left to the user.

    Returns:
        What failed; the others have been fetched.

    Raises:
        UserError: the disk has no room for all of it.
    """
    there = {name: catalogue.entries[name] for name in names if name in catalogue.entries}
    entries = {name: entry for name, entry in there.items() if not entry.get}
    catalogue.folder.mkdir(parents=True, exist_ok=True)
    for client in ("httpx", "httpx2"):  # each request is a line
        logging.getLogger(client).setLevel(logging.WARNING)
    wanted = sum(entry.megabytes or 0 for entry in entries.values())
    free = shutil.disk_usage(catalogue.folder).free / 1e6
    if wanted > free:
        raise UserError(
            f"{size_of(wanted)} are to be fetched, but {catalogue.folder.absolute()} has room for {size_of(free)}. "
            "Make room, or set TELLSIGN_WEIGHTS to a folder on a larger disk."
        )
    problems = []
    for name in names:
        try:
            if name == NLTK:
                sys.stderr.write("fetching NLTK's data\n")
                fetch_nltk()
            elif name in entries:
                fetch_entry(catalogue, name)
        except UserError as problem:
            problems.append(problem)
    return problems


def fetch_entry(catalogue: WeightsCatalogue, name: str) -> None:
    """Fetch one entry of the catalogue into its folder.

    Raises:
        UserError: the transfer fails, or its source has not what the entry names.
    """
    entry, target = catalogue.entries[name], catalogue.folder / name
    with exclusive_lock(target):
        sys.stderr.write(f"fetching {name} ({total_size([entry])}) into {target}\n")
        if entry.repository is not None:
            fetch_snapshot(entry.repository, catalogue.revision(name), entry.files, target)
        else:
            assert entry.url is not None
            fetch_url(entry.url, target / entry.files[0])
    missing = catalogue.missing_files(name, target)
    if missing:
        raise UserError(
            f"{entry.repository or entry.url} has no {', '.join(missing)} at revision {catalogue.revision(name)}: the "
            f"entry {name!r} of config/weights.yaml does not fit it. See {entry.page}."
        )
