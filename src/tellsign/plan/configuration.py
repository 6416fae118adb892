"""A configuration as the plan reads it: checked settings, its papers and their runs. Looks at no image."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellsign.errors import UserError, choose
from tellsign.plan.recipes import Run, read_recipe
from tellsign.plan.released import released_runs, without_released
from tellsign.schema.config import Config
from tellsign.schema.data import Split
from tellsign.schema.loading import build, merge, plain
from tellsign.schema.paper import Paper, PaperFile
from tellsign.schema.paper_files import read_paper_file, run_specs
from tellsign.schema.strict_yaml import read_yaml

WANTED = {"root": "PATH", "train": "SUBSET", "photos": "PATH", "data": "FOLDER"}
"""What ``--config`` gives, and how a message asks for it."""


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put a place before what a user is told."""
    try:
        yield
    except UserError as problem:
        raise UserError(f"{where}: {problem}") from None


def named_under(node: Any, key: str) -> list[str]:
    """Every text that stands under ``key`` anywhere in plain data, in order, once each."""
    if isinstance(node, Mapping):
        own = [node[key]] if isinstance(node.get(key), str) else []
        return list(dict.fromkeys(own + [n for value in node.values() for n in named_under(value, key)]))
    if isinstance(node, list):
        return list(dict.fromkeys(n for value in node for n in named_under(value, key)))
    return []


def unfilled(value: Any) -> set[str]:
    """Names in braces that stand anywhere in plain data and that ``--config`` did not give."""
    return set(re.findall(r"\{(\w+)\}", json.dumps(plain(value))))


def fill(value: Any, given: Mapping[str, str]) -> Any:
    """Replace ``{root}`` and the like in every string of plain data."""
    if isinstance(value, str):
        for key, text in given.items():
            value = value.replace("{" + key + "}", text)
        return value
    if isinstance(value, Mapping):
        return {fill(k, given): fill(v, given) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, given) for v in value]
    return value


def included(benchmarks: Any, folder: Path) -> Any:
    """The configuration's benchmarks as one mapping.

    Args:
        benchmarks: A mapping; or the path of a YAML file that holds one; or a mapping with such a path under
            ``include``, over which the rest is merged key by key.
        folder: Where a relative path starts.

    Raises:
        UserError: the file is missing or holds no mapping.
    """
    if isinstance(benchmarks, str):
        benchmarks = {"include": benchmarks}
    if not isinstance(benchmarks, Mapping) or not isinstance(benchmarks.get("include"), str):
        return benchmarks
    shared = read_yaml(folder / benchmarks["include"])
    if not isinstance(shared, Mapping):
        raise UserError(f"{benchmarks['include']}: expected a mapping of benchmarks, got {shared!r}.")
    return merge(shared, {name: spec for name, spec in benchmarks.items() if name != "include"})


def extended(values: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A configuration merged over the one that it names under ``extends``; lists are replaced.

    Args:
        values: The configuration.
        folder: Where a relative path starts.

    Raises:
        UserError: the other is missing, holds no mapping, or extends a third.
    """
    if values.get("extends") is None:
        return values
    file, own = str(values["extends"]), {key: value for key, value in values.items() if key != "extends"}
    stored = read_yaml(folder / file)
    if not isinstance(stored, Mapping) or "extends" in stored:
        raise UserError(f"extends: {file} must be a whole configuration that extends no other.")
    return merge({key: value for key, value in stored.items() if value is not None}, own)


def read_config(values: Mapping[str, Any], folder: Path) -> tuple[Config, dict[str, str]]:
    """The settings of a configuration, and the texts that stand for ``{root}`` and the like.

    Raises:
        UserError: anything in it that cannot be right, or a text that is needed and not given.
    """
    values = extended(values, folder)
    given = {k: str(values[k]) for k in WANTED if values.get(k) is not None}
    stored = dict(values) | given | {"benchmarks": included(values.get("benchmarks"), folder)}
    if "root" in given:
        given.setdefault("photos", f"{given['root']}/photos")
    config = build(Config, fill(stored, given), "config")
    if missing := sorted(unfilled([config.benchmarks, config.splits]) - {"photos"}):
        wanted = " ".join(f"{name}={WANTED.get(name, 'VALUE')}" for name in missing)
        raise UserError(f"configuration {config.name!r} needs more: add --config {wanted} to the command.")
    check_data(config)
    return config, given


def check_data(config: Config) -> None:
    """What benchmarks and splits say of one another.

    Raises:
        UserError: a root that is replaced, or a subset that is named, is not known.
    """
    roots = {}
    for name, spec in config.benchmarks.items():
        roots |= {f"{name}/{key}": name for key in spec.roots} if len(spec.roots) > 1 else {name: name}
        for field_name in ("reals", "counts"):
            for subset in getattr(spec, field_name) if spec.folders else ():
                choose(spec.folders, subset, f"subset under {field_name!r} of benchmark {name!r}")
    for name in config.roots:
        choose(roots, name, "root under 'roots'")
    for name, split in config.splits.items():
        check_split(config, name, split)


def check_split(config: Config, name: str, split: Split) -> None:
    """What a split says of its benchmark.

    Raises:
        UserError: a subset that is not known, or a fallback for nothing.
    """
    if split.fallback is not None and split.per_class is None:
        raise UserError(f"split {name!r} has a fallback but no per_class, which it stands in for.")
    if split.benchmark in config.benchmarks and (known := known_subsets(config, split.benchmark)):
        check_subsets(name, split, known)


def check_subsets(name: str, split: Split, known: Collection[str]) -> None:
    """Whether the subsets that a split names are among those of its benchmark.

    Raises:
        UserError: one is not.
    """
    for subset in split.subsets:
        choose(dict.fromkeys(known), subset, f"subset of benchmark {split.benchmark!r} (split {name!r})")


def known_subsets(config: Config, benchmark: str) -> list[str]:
    """Subsets of a benchmark as far as the configuration says; none where only its images know."""
    spec, demo = config.benchmarks[benchmark], config.demo
    made = demo.generators if demo and spec.layout == "demo" else {}
    return list(spec.subsets or spec.folders or made)


@dataclass(frozen=True, eq=False)
class Configuration:
    """A configuration that has been read.

    Attributes:
        config: Its settings.
        papers: The papers by name.
        runs: Every run by ``paper/name``.
        folder: Where its relative paths start.
    """

    config: Config
    papers: dict[str, Paper]
    runs: dict[str, Run]
    folder: Path

    @classmethod
    def read(cls, values: Mapping[str, Any], folder: Path) -> Configuration:
        """Read plain data and the paper files that it names.

        Raises:
            UserError: anything in them that cannot be right.
        """
        config, given = read_config(values, folder)
        whole = cls(config, {}, {}, folder)
        for entry in config.papers:
            whole._add_paper(entry, given)
        return whole

    def _add_paper(self, entry: PaperFile | str, given: Mapping[str, str]) -> None:
        file = Path(entry if isinstance(entry, str) else entry.file).name
        data = read_paper_file(entry, self.folder)
        paper = build(Paper, fill(data if self.config.released else without_released(data), given), file)
        self.papers[paper.paper] = paper
        own = list(runs_of(paper, file))
        runs = {run.full_name: run for run in [*own, *released_runs(paper, own, file)]}
        self.runs.update(runs)
        if isinstance(entry, PaperFile) and not (entry.tables is None and entry.figures is None):
            for unused in runs.keys() - self._shown(paper):
                del self.runs[unused]
            self.papers[paper.paper] = self._without_unused(paper)

    def _without_unused(self, paper: Paper) -> Paper:
        """A paper without the annotations and encoders that none of its runs and figures needs."""
        recipes = [run.recipe for run in self.runs_of(paper.paper)]
        annotations = set[str]().union(*(recipe.annotations() for recipe in recipes))
        starts = (recipe.origin() for recipe in recipes)
        encoders = {start.name for start in starts if start.kind == "pretrain"}
        encoders |= {*named_under(paper.figures, "encoder")}
        return paper.model_copy(
            update={
                "annotate": {name: spec for name, spec in paper.annotate.items() if name in annotations},
                "pretrain": {name: spec for name, spec in paper.pretrain.items() if name in encoders},
            }
        )

    def _shown(self, paper: Paper) -> set[str]:
        """Runs of a paper that its tables and figures show, and those that they start from."""
        named: list[Run] = []
        for what, shown in (("table", paper.tables), ("figure", paper.figures)):
            for name, spec in shown.items():
                with located(f"{paper.paper}: {what} {name}"):
                    named += self.runs_in(paper.paper, spec)
        return {one.full_name for run in named for one in self.lineage(run)}

    def run(self, paper: str, name: str) -> Run:
        """Find a run by ``name`` (of ``paper``) or ``other-paper/name``.

        Raises:
            UserError: there is none; the message lists the runs of the paper that was meant.
        """
        full = name if "/" in name else f"{paper}/{name}"
        if full in self.runs:
            return self.runs[full]
        own = self.runs_of(full.partition("/")[0])
        return choose({run.full_name: run for run in own} or self.runs, full, "run")

    def runs_of(self, paper: str) -> list[Run]:
        """All runs of a paper."""
        return [run for run in self.runs.values() if run.paper == paper]

    def lineage(self, run: Run) -> Iterator[Run]:
        """A run, the run whose weights it starts from, and so on."""
        yield run
        start = run.recipe.origin()
        if start.kind == "run":
            yield from self.lineage(self.run(run.paper, start.name))

    def runs_in(self, paper: str, spec: Any) -> list[Run]:
        """Runs that a table or figure names anywhere under ``run``, ``runs``, ``grid`` or ``released``, in order, once
        each.
        """
        return list(dict.fromkeys(self._named_runs(paper, spec)))

    def _named_runs(self, paper: str, node: Any) -> Iterator[Run]:
        if isinstance(node, list):
            for value in node:
                yield from self._named_runs(paper, value)
        elif isinstance(node, Mapping):
            for key, value in node.items():
                if key in ("run", "released"):
                    yield self.run(paper, value)
                elif key == "runs":
                    yield from (self.run(paper, name) for name in value)
                elif key == "grid":
                    for grid in [value] if isinstance(value, str) else value:
                        yield from self._cells(paper, grid)
                else:
                    yield from self._named_runs(paper, value)

    def _cells(self, paper: str, grid: str) -> Iterator[Run]:
        choose(self.papers[paper].grids, grid, f"grid of {paper}")
        return (run for full, run in self.runs.items() if full.startswith(f"{paper}/{grid}-"))


def runs_of(paper: Paper, file: str) -> Iterator[Run]:
    """The runs of a paper, those of its grids among them.

    Raises:
        UserError: a recipe that cannot be right, or a test set that is not there.
    """
    for name, spec in run_specs(paper, file).items():
        where = f"{file}: run {name}"
        seeds = tuple(spec.pop("seeds", paper.seeds))
        tests = tuple(spec.pop("tests", ["test"] if "test" in paper.tests else list(paper.tests)))
        for test in tests:
            choose(paper.tests, test, f"test set of {where}")
        yield Run(paper.paper, name, read_recipe(spec, where), seeds, tests)
