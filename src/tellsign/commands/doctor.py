"""Say what each table and figure needs, what is missing and how to get it, and what it costs.

    tellsign doctor                                                   for the demo (config/config.yaml)
    tellsign doctor --configfile config/paper.yaml --config data=FOLDER
    tellsign doctor --configfile config/paper.yaml --table mpft-table1 lol-fig4
    tellsign doctor --configfile config/paper.yaml --table mpft-table1-tam       the row of one run

It runs nothing, needs no GPU, and accepts missing folders and weights: finding them is its purpose. It prints a row for
every table and figure:

  data, weights    there, or how many folders of images and how many weights are lacking; short: too few images
  trainings        how many are made, and how many there are; equal trainings count once
  images trained   images that the trainings see, times epochs (for pre-training: patches)
  images scored    images that are scored, once for every checkpoint
  disk             space for crops, checkpoints, features and scores
  time left        of the networks alone, for what is not yet made; made: nothing is left to do; unknown + 12 min: some
                   networks take 12 minutes, and of others no rate is known

The last row counts once what tables share. ≥ before a number means that a part of it is unknown. Numbers of images are
exact if the split or index has been made; until then they are the most that the set should hold. Times follow from
config/rates.yaml, which says who measured what on which machine; --machine chooses another of its machines.

The exit status is 0 when everything is there, 1 when something is missing, 2 when the question itself is wrong.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tellsign.commands.amounts import Amount, counted, disk, duration
from tellsign.commands.budget import Cost, Costs
from tellsign.commands.configuration import CACHE, plan_with_data, read_configuration
from tellsign.commands.image_counts import ImageCounter
from tellsign.commands.rates import RATES, Rates, read_rates
from tellsign.commands.room import full_disks
from tellsign.commands.supply import needed_folders, short_report, shortfalls
from tellsign.data.inventory import FileDigests
from tellsign.errors import UserError, choose
from tellsign.networks.weights import open_catalogue, shopping_list
from tellsign.plan.artifact import Artifact, ancestors, unmade
from tellsign.plan.missing import missing_weights
from tellsign.plan.networks import FindWeights
from tellsign.plan.plan import Plan
from tellsign.schema.weights import MissingWeightsError, ResolvedWeights
from tellsign.stages.registry import STAGES


@dataclass(frozen=True)
class Row:
    """One table or figure, or all of them.

    Attributes:
        name: PAPER-NAME.
        folders: Folders of images that it needs and that are not there.
        short: What its folders hold less of than they should, or than its runs ask for.
        weights: Values of ``weights:`` that it needs and that are not there.
        done: It has been made.
        made, trainings: How many of its trainings have been made, and how many it has; equal ones count once.
        cost: What it takes.
        disk: Its bytes by what they are.
        to_write: Bytes of what has not been made yet, by the folder that it goes to.
    """

    name: str
    folders: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    done: bool = False
    made: int = 0
    trainings: int = 0
    cost: Cost = field(default_factory=Cost)
    disk: dict[str, Amount] = field(default_factory=dict)
    to_write: dict[str, Amount] = field(default_factory=dict)


def main(
    *,
    configfile: Path = Path("config/config.yaml"),
    config: list[str] | None = None,
    table: list[str] | None = None,
    machine: str | None = None,
) -> int:
    """Look at a configuration and tell; see the module.

    Args:
        configfile: The configuration.
        config: KEY=VALUE, as for snakemake.
        table: PAPER-NAME of the tables and figures to look at, or PAPER-NAME-RUN of a table's row; all without it.
        machine: One of the machines in config/rates.yaml; without it, the one that knows most of the networks.
    """
    given = config or []
    digests = FileDigests(CACHE)
    catalogue = open_catalogue(Path(), digests)
    problems: dict[str, MissingWeightsError] = {}
    find = forgiving(catalogue.find, problems)
    plan = plan_with_data(read_configuration(configfile, given), Path(), digests, find)
    items = chosen(plan, table or [])
    artifacts = {name: make() for name, make in items.items()}
    rates = read_rates(RATES)
    machine = machine or fitting_machine(rates, artifacts.values())
    choose(rates.machines, machine, f"machine in {RATES}")
    counter = ImageCounter(plan.config, rates, Path(), plan.images)
    rows, whole = examine(artifacts, Costs(counter, rates, machine), lambda a: shortfalls(plan, counter, a), Path())
    rated = networks_of(artifacts.values()) & rates.machines[machine].rates.keys()
    timed_by = rates.machines[machine].what if rated else ""
    parts = [headline(str(configfile), plan, rows, whole), listing(rows, whole, timed_by)]
    parts.append(notes(whole, rates, machine, artifacts.values()))
    parts += map(_wrapped, needed_folders(plan, artifacts.values()))
    if whole.folders:
        parts.append(plan.missing_data_report(whole.folders))
    if whole.short:
        parts.append(short_report(whole.short, plan.config.benchmarks))
    if whole.weights:
        users = plan.networks_needed()
        known = [problems[value] for value in whole.weights]
        parts.append(shopping_list(known, users))
    entries = [entry for value in whole.weights if (entry := problems[value].entry)]
    fetched = Amount(1e6 * sum(entry.megabytes or 0 for entry in entries))
    full = full_disks({Path(): whole.to_write, catalogue.folder: {"": fetched}})
    parts += full
    if not (whole.folders or whole.short or whole.weights or full):
        parts.append("Nothing is missing.")
    sys.stdout.write("\n\n".join(part for part in parts if part) + "\n")
    return int(bool(whole.folders or whole.weights or whole.short or full))


def forgiving(find: FindWeights, problems: dict[str, MissingWeightsError]) -> FindWeights:
    """The same search, in which weights that are wrong are missing; what was missing and why goes to ``problems``."""

    def search(value: str, network: str) -> ResolvedWeights:
        try:
            return find(value, network)
        except MissingWeightsError as problem:
            problems[value] = problem
            raise
        except UserError as problem:
            problems[value] = MissingWeightsError(value, "wrong", str(problem))
            raise problems[value] from None

    return search


def chosen(plan: Plan, names: Sequence[str]) -> dict[str, Callable[[], Artifact]]:
    """Tables, then figures, of every paper → what makes the plan of one; only those that are named, if any are.

    A row of a table (``mpft-table1-tam``) must be named.

    Raises:
        UserError: there is none of that name.
    """

    def maker(make: Callable[[str, str], Artifact], paper: str, name: str) -> Callable[[], Artifact]:
        return lambda: make(paper, name)

    known: dict[str, Callable[[], Artifact]] = {}
    for key, paper in plan.papers.items():
        known |= {f"{key}-{name}": maker(plan.table, key, name) for name in paper.tables}
        known |= {f"{key}-{name}": maker(plan.figure, key, name) for name in paper.figures}
    rows = {target: functools.partial(plan.row, target) for target in plan.rows()}
    return {name: choose(known | rows, name, "table, figure or row") for name in names} if names else known


def absent_folders(artifact: Artifact) -> set[str]:
    """Root folders of an index that are not there."""
    return {artifact.roots[key] for key, digest in artifact.raw.items() if digest == "absent"}


def examine(
    artifacts: Mapping[str, Artifact], costs: Costs, short: Callable[[Artifact], list[str]], folder: Path
) -> tuple[list[Row], Row]:
    """A row for each table and figure, and one for all of them, in which what they share counts once.

    Args:
        artifacts: By name.
        costs: What an artifact takes.
        short: Lines on what a split's folders lack.
        folder: Where artifacts live.
    """
    there = functools.cache(lambda path: (folder / path).exists())

    def is_made(artifact: Artifact) -> bool:
        return there(artifact.path)

    facts: dict[str, tuple[Cost, set[str], set[str], list[str]]] = {}

    def look(artifact: Artifact) -> None:
        lines = short(artifact) if artifact.stage == "split" else []
        facts[artifact.path] = (
            costs.of(artifact),
            absent_folders(artifact),
            missing_weights(artifact.settings),
            lines,
        )

    def row(name: str, needed: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Row:
        for path in needed.keys() - facts.keys():
            look(needed[path])
        row_facts = [facts[path] for path in sorted(needed)]
        trainings = [path for path, artifact in needed.items() if STAGES[artifact.stage].trains]
        cost, disk_of, to_write = Cost(), {}, {}
        for path, artifact in needed.items():
            own, what = facts[path][0], STAGES[artifact.stage].disk
            cost += own if path in left else own.without_hours()
            if what:
                disk_of[what] = disk_of.get(what, Amount()) + own.bytes
            if path in left:
                place = Path(path).parts[0]
                to_write[place] = to_write.get(place, Amount()) + own.bytes
        return Row(
            name,
            tuple(sorted(set().union(*(f[1] for f in row_facts)))),
            tuple(dict.fromkeys(line for f in row_facts for line in f[3])),
            tuple(sorted(set().union(*(f[2] for f in row_facts)))),
            not left,
            sum(path not in left for path in trainings),
            len(trainings),
            cost,
            disk_of,
            to_write,
        )

    rows = []
    everything: dict[str, Artifact] = {}
    for name, artifact in artifacts.items():
        needed = ancestors([artifact])
        everything |= needed
        rows.append(row(name, needed, unmade([artifact], is_made)))
    return rows, row("all, shared ones once", everything, unmade(artifacts.values(), is_made))


def fitting_machine(rates: Rates, artifacts: Iterable[Artifact]) -> str:
    """The machine that knows most networks of these artifacts, the first of equal ones."""
    networks = networks_of(artifacts)
    return max(rates.machines, key=lambda name: len(networks & rates.machines[name].rates.keys()))


def networks_of(artifacts: Iterable[Artifact]) -> set[str]:
    """Names of the networks that are trained, or that annotate images."""
    roles = {"backbone": "", "network": "", "clip": "", "captioner": "caption/", "grounder": "ground/"}
    return {
        f"{prefix}{network['name']}"
        for artifact in ancestors(artifacts).values()
        for role, prefix in roles.items()
        if isinstance(network := artifact.settings.get(role), Mapping) and "name" in network
    }


# ------------------------------------------------------------------------------------------------ text


def headline(configfile: str, plan: Plan, rows: Sequence[Row], whole: Row) -> str:
    """How many tables and figures there are, how many can be made, and of how many runs."""
    specs = {f"{key}-{name}": (key, spec) for key, p in plan.papers.items() for name, spec in p.tables.items()}
    specs |= {target: (row.paper, row.spec) for target, row in plan.rows().items()}
    tables = [row for row in rows if row.name in specs]
    specs |= {f"{key}-{name}": (key, spec) for key, p in plan.papers.items() for name, spec in p.figures.items()}
    runs = {(run.paper, run.name) for row in rows for run in plan.runs_in(*specs[row.name])}
    data, weights = [row for row in rows if row.folders or row.short], [row for row in rows if row.weights]
    both = sum(bool(row.weights) for row in data)
    ready, done = len(rows) - len(data) - len(weights) + both, sum(row.done for row in rows)
    return (
        f"{configfile}: {_many(len(tables), 'table')}, {_many(len(rows) - len(tables), 'figure')}: "
        f"{ready} ready{f' ({done} made)' if done else ''}, {len(data)} lack data, {len(weights)} lack weights"
        f"{f' ({both} lack both)' if both else ''}.\n"
        f"They show {_many(len(runs), 'run')}, which are {_many(whole.trainings, 'training')}: a training for every "
        f"seed, equal ones once. {whole.made} of them {'is' if whole.made == 1 else 'are'} made."
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def listing(rows: Sequence[Row], whole: Row, machine: str) -> str:
    """The rows in aligned columns, at most 100 characters wide for names of up to 30; empty for no ``machine``, no
    line on times.
    """
    cells = [
        ("", "", "", "trainings", "images", "images", "", "time"),
        ("", "data", "weights", "made/all", "trained", "scored", "disk", "left"),
    ]
    for row in [*rows, *([whole] if len(rows) > 1 else [])]:
        data = f"lacks {len(row.folders)}" if row.folders else f"short {len(row.short)}" if row.short else "there"
        cost = row.cost
        cells.append(
            (
                row.name,
                data,
                f"lacks {len(row.weights)}" if row.weights else "there",
                f"{row.made}/{row.trainings}" if row.trainings else "–",
                counted(cost.trained),
                counted(cost.scored),
                disk(cost.bytes),
                "made" if row.done else duration(cost.hours),
            )
        )
    widths = [max(len(line[column]) for line in cells) for column in range(8)]
    lines = []
    for number, line in enumerate(cells):
        text = [f"{v:<{w}}" if i < 3 else f"{v:>{w}}" for i, (v, w) in enumerate(zip(line, widths, strict=True))]
        if number == len(cells) - 1 and len(rows) > 1:
            lines.append("-" * len("  ".join(text)))
        lines.append("  ".join(text).rstrip())
    return "\n".join([*lines, *(["", _wrapped(f"Times: {machine}.")] if machine else [])])


def notes(whole: Row, rates: Rates, machine: str, artifacts: Iterable[Artifact]) -> str:
    """What takes the disk, where the times come from, and what they leave out."""
    rated = rates.machines[machine].rates
    used = sorted(networks_of(artifacts) & rated.keys())
    kinds = dict.fromkeys(stage.disk for stage in STAGES.values())
    shares = [f"{disk(whole.disk[what])} {what}" for what in kinds if what in whole.disk]
    lines = [f"Disk: {', '.join(shares)}."] if shares else []
    for basis in ("measured", "published", "estimated"):
        names = [name for name in used if rated[name].basis == basis]
        if names:
            lines.append(f"Rates that are {basis}: {', '.join(names)}.")
    if whole.cost.scaled:
        names = ", ".join(sorted(whole.cost.scaled))
        lines.append(f"Measured at another image size, and taken to go with the number of pixels: {names}.")
    if whole.cost.unrated:
        lines.append(f"No rate is known, so their time is not in: {', '.join(sorted(whole.cost.unrated))}.")
    lines.append(
        f"{RATES} says where each rate comes from; benchmarks/rates.py measures them on your machine. Decoding images, "
        "heads on stored features and metrics are not in the times."
    )
    return "\n".join(_wrapped(line) for line in lines)


def _wrapped(text: str, width: int = 100) -> str:
    import textwrap

    return textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
