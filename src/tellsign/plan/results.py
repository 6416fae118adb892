"""The plan of what is shown: metrics, tables, figures and the report."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellsign.errors import UserError, choose
from tellsign.evaluation.metrics import METRICS
from tellsign.plan.artifact import Artifact, Workshop, answered_once, digest
from tellsign.plan.configuration import Configuration, located, named_under
from tellsign.plan.data import DataPlan
from tellsign.plan.presentation import RUNS, cells, check_cell, sides
from tellsign.plan.recipes import Run
from tellsign.plan.released import released_notes, training_images
from tellsign.plan.shown import numbers_to_come
from tellsign.plan.training import TrainingPlan, frozen_networks
from tellsign.registry import Record
from tellsign.results.figures.kinds import FIGURE_KINDS, is_made_from_metrics
from tellsign.results.tables.kinds import TABLE_KINDS
from tellsign.schema.data import Bias, Perturbation
from tellsign.schema.evaluation import Evaluate
from tellsign.schema.figures import figure_settings
from tellsign.schema.loading import build, differences, merge, plain
from tellsign.schema.tables import table_settings


@dataclass(frozen=True)
class Row:
    """Rows of a table that can be asked for alone.

    Attributes:
        paper: The table's.
        name: Of the smaller table that they make.
        spec: Its specification.
    """

    paper: str
    name: str
    spec: dict[str, Any]


class ResultsPlan:
    """Artifacts of results.

    Args:
        configuration: What it is the plan of.
        workshop: Makes the artifacts.
        data: The plan of its data.
        training: The plan of its trainings and scores.
        file_digest: Gives the sha256 of a file.
    """

    def __init__(
        self,
        configuration: Configuration,
        workshop: Workshop,
        data: DataPlan,
        training: TrainingPlan,
        file_digest: Callable[[Path], str],
    ) -> None:
        self._configuration, self._config, self._papers = configuration, configuration.config, configuration.papers
        self._make, self._file_digest = workshop.make, file_digest
        self._training_images = functools.cache(functools.partial(training_images, configuration.folder))
        self._data, self._training = data, training

    # -------------------------------------------------------------------------------------------- metrics

    def evaluate(self, run: Run, change: Mapping[str, Any] | None = None) -> Artifact:
        """Metrics of a run, from its scores alone; ``change`` is what a table's protocol says."""
        scores = self._training.score(run)
        protocol = self.protocol(change or {}, run.place)
        if protocol.validation is not None:
            choose(dict.fromkeys(run.tests), protocol.validation, f"validation test of {run.full_name}")
        if protocol.pooled_reals != "none" and run.recipe.models_by_subset():
            raise UserError(
                f"{run.place} has shots, so each subset has a model of its own: reals of other subsets "
                "have no scores of it. Say pooled_reals: none in the protocol of its tables."
            )
        settings = plain(protocol) | {
            "protocol": differences(protocol, self._config.evaluate),
            "paper": run.paper,
            "run": run.name,
            "tests": scores.settings["tests"],
            "recipe": digest(plain(run.recipe))[:12],
            "code": self._training.checkpoint(run, run.seeds[0]).recipe["code"],
            "data": digest([split.fingerprint for _, split in scores.needs["splits"]])[:12],
        }
        needs = {"scores": [("", scores)], "splits": scores.needs["splits"]}
        mark = f"-{digest(protocol)[:4]}" if settings["protocol"] else ""
        entries = tuple(METRICS.find(metric) for metric in protocol.metrics)
        return self._make("evaluate", f"{run.full_name}{mark}", settings, needs, entries=entries)

    def protocol(self, change: Mapping[str, Any], where: str) -> Evaluate:
        """The configuration's ``evaluate`` with what a ``protocol`` says instead.

        Raises:
            UserError: it is no mapping, or says something that cannot be right.
        """
        if not isinstance(change, Mapping):
            raise UserError(f"{where}: protocol is {change!r}; it says fields of evaluate, such as threshold: oracle.")
        return build(Evaluate, merge(plain(self._config.evaluate), change), f"{where}, protocol")

    def evaluations(self, paper: str, spec: Mapping[str, Any]) -> list[tuple[str, Artifact]]:
        """Metrics of a table: each run under each protocol that a cell of it asks for."""
        metrics: dict[str, Artifact] = {}
        for row in _mappings(spec.get("rows")):
            for column in _mappings(spec.get("columns")):
                for cell in sides({**spec, **column, **row}):
                    named = {key: cell[key] for key in RUNS if cell.get(key)}
                    for run in self._configuration.runs_in(paper, named):
                        made = self.evaluate(run, cell.get("protocol"))
                        metrics[made.path] = made
        return [("", made) for made in metrics.values()]

    def _named_protocols(self, node: Any, where: str) -> Any:
        """Plain data with each ``protocol`` replaced by its name, which stands in the metrics' rows."""
        if isinstance(node, Mapping):
            return {
                key: differences(self.protocol(value, where), self._config.evaluate)
                if key == "protocol"
                else self._named_protocols(value, where)
                for key, value in node.items()
            }
        return [self._named_protocols(value, where) for value in node] if isinstance(node, list) else node

    # -------------------------------------------------------------------------------------------- tables

    def _presented(self, paper: str, name: str, spec: Mapping[str, Any], where: str) -> dict[str, Any]:
        settings = dict(spec) | {"paper": paper, "name": name, "banner": self._config.banner}
        with located(where):
            settings["recipes"] = {r.name: plain(r.recipe) for r in self._configuration.runs_in(paper, spec)}
        return settings

    @answered_once
    def table(self, paper: str, name: str) -> Artifact:
        """One table of a paper.

        Raises:
            UserError: it cannot be right, or asks for numbers that none of its runs will have.
        """
        return self._table(paper, name, choose(self._papers[paper].tables, name, f"table of {paper}"))

    @answered_once
    def rows(self) -> dict[str, Row]:
        """The rows that can be asked for alone, as tables of their own: ``mpft-table1-tam`` → what it shows.

        These are the rows of a run or of a grid, by its name, where the table has others as well. A name that a whole
        table or figure has stands for that one.
        """
        rows, whole = {}, self.targets()
        for paper, held in self._papers.items():
            for name, spec in held.tables.items():
                every = spec["rows"] if isinstance(spec.get("rows"), list) else []
                keys = [(row, row.get("run", row.get("grid"))) for row in _mappings(every)]
                named = [(row, key) for row, key in keys if isinstance(key, str)]
                for key in dict.fromkeys(key for _, key in named):
                    own = [row for row, other in named if other == key]
                    target = f"{paper}-{name}-{key.replace('/', '-')}"
                    if len(own) < len(every) and target not in whole:
                        note = (
                            f"{len(own)} of the {len(every)} rows of {paper}-{name}: those of {key}. "
                            f"The target {paper}-{name} makes the whole table."
                        )
                        notes = [note, *spec.get("footnotes", ())]
                        title = f"{spec['title']}: {key} alone"
                        part = dict(spec) | {"rows": own, "title": title, "footnotes": notes}
                        rows[target] = Row(paper, f"{name}-{key.replace('/', '-')}", part)
        return rows

    @answered_once
    def row(self, target: str) -> Artifact:
        """The table of a row that is asked for alone."""
        asked = choose(self.rows(), target, "row of a table")
        return self._table(asked.paper, asked.name, asked.spec)

    def _table(self, paper: str, name: str, spec: Mapping[str, Any]) -> Artifact:
        where = f"{paper}: table {name}"
        presented = self._presented(paper, name, self._named_protocols(spec, where), where)
        settings = table_settings({"comparable": self._config.comparable} | presented)
        beside = [row for row in _mappings(spec.get("rows")) if row.get("released")]
        runs_in = functools.partial(self._configuration.runs_in, paper)
        if beside:
            settings["footnotes"] += released_notes(beside, runs_in, self._training_images())
        table_cells = dict.fromkeys(cells(settings))
        published = self._configuration.folder / "config" / "published" / f"{paper}.csv"
        raw = {"published": self._file_digest(published)} if spec.get("quoted") else {}
        metrics = self.evaluations(paper, spec)
        numbers = numbers_to_come(self._configuration, [made for _, made in metrics])
        for cell in table_cells:
            check_cell(cell, numbers, paper, where)
        needs = {
            "metrics": metrics,
            "indexes": self._tested_indexes(paper, spec) or None,
            "seen": self._seen_splits(paper, spec) or None,
            "tested": [(f"test split {name}", self._data.split(name)) for name in self._tested(paper, spec)] or None,
        }
        roots = {"published": str(published)} if raw else {}
        kind = TABLE_KINDS.find(settings["kind"])
        return self._make("table", f"{paper}/{name}", settings, needs, entries=(kind,), raw=raw, roots=roots)

    def _tested_indexes(self, paper: str, spec: Mapping[str, Any]) -> list[tuple[str, Artifact]]:
        """Indexes that a table's runs read of the benchmarks they are tested on, for what their files give away."""
        tested, seen = self._tested(paper, spec), [split for _, split in self._seen_splits(paper, spec)]
        splits = [self._data.split(name) for name in tested] + seen
        benchmarks = {self._config.splits[name].benchmark for name in tested}
        indexes = dict.fromkeys(index for split in splits for _, index in split.needs["index"])
        return [(index.name, index) for index in indexes if index.settings["benchmark"] in benchmarks]

    def _tested(self, paper: str, spec: Mapping[str, Any]) -> list[str]:
        """Names of the splits that a table's runs are tested on."""
        runs = self._configuration.runs_in(paper, spec)
        tests = [self._papers[run.paper].tests[name] for run in runs for name in run.tests]
        return list(dict.fromkeys(split for test in tests for split in test.splits))

    def _seen_splits(self, paper: str, spec: Mapping[str, Any]) -> list[tuple[str, Artifact]]:
        """Splits that a table's runs saw before the test, for what of them is tested on as well."""
        seen: dict[str, Artifact] = {}
        for run in self._configuration.runs_in(paper, spec):
            for one in self._configuration.lineage(run):
                seen |= {f"{what} {split.name}": split for what, split in self._splits_seen_by(one)}
        return list(seen.items())

    def _splits_seen_by(self, run: Run) -> list[tuple[str, Artifact]]:
        """The splits that a run itself is trained on, with what it takes them for; none where nothing is trained."""
        if not run.recipe.inputs():
            return []
        data = run.recipe.data
        seen = [("training split", self._data.split(data.split, tuple(data.subsets)))]
        if (validation := run.recipe.validation()) is not None:
            seen.append(("validation split", self._data.split(validation.split, tuple(validation.subsets))))
        start = run.recipe.origin()
        if start.kind == "pretrain":
            sections = self._papers[run.paper].pretrain
            section = choose(sections, start.name, f"pretrain section of {run.paper}")
            seen.append(("pre-training split", self._data.split(section.split)))
        return seen

    # -------------------------------------------------------------------------------------------- figures

    @answered_once
    def figure(self, paper: str, name: str) -> Artifact:
        """One figure of a paper."""
        spec = choose(self._papers[paper].figures, name, f"figure of {paper}")
        settings = figure_settings(self._presented(paper, name, spec, f"{paper}: figure {name}"))
        runs = self._configuration.runs_in(paper, spec)
        kind = FIGURE_KINDS.find(spec["kind"])
        if is_made_from_metrics(spec["kind"]):
            metrics = [("", self.evaluate(run)) for run in runs]
            return self._make("figure", f"{paper}/{name}", settings, {"metrics": metrics}, entries=(kind,))
        rows = settings.get("rows", ())
        splits = list(dict.fromkeys([spec["split"], *(row["split"] for row in rows if "split" in row)]))
        detectors = [(run.name, made) for run in runs if (made := self._training.detector(run))]
        if networks := {run: frozen for run, made in detectors if (frozen := frozen_networks(made))}:
            settings["networks"] = networks
        needs: dict[str, list[tuple[str, Artifact]] | None] = {
            "checkpoints": detectors or None,
            "encoders": [(e, self._training.pretrain(paper, e)) for e in named_under(spec, "encoder")] or None,
            "splits": [(split, self._data.split(split)) for split in splits],
            "features": self._drawn_features(paper, rows, spec["split"]) or None,
        }
        if side := spec.get("crop"):
            store = ("whole", 0) if settings.get("crop_at") == "random" else ("center", side)
            needs["crops"] = [(n, self._data.crops(n, *store, Perturbation(), Bias())) for n in splits]
        entries = (kind, *self._drawn_networks(paper, spec, runs))
        return self._make("figure", f"{paper}/{name}", settings, needs, entries=entries)

    def _drawn_networks(self, paper: str, spec: Mapping[str, Any], runs: list[Run]) -> tuple[Record, ...]:
        """The entries of registries that the detectors and encoders of a figure are built of, each once."""
        built = [run.recipe.network_entries() for run in runs if self._training.detector(run)]
        built += [self._training.encoder_entries(paper, encoder) for encoder in named_under(spec, "encoder")]
        return tuple(dict.fromkeys(itertools.chain.from_iterable(built)))

    def _drawn_features(self, paper: str, rows: list[Mapping[str, Any]], split: str) -> list[tuple[str, Artifact]]:
        """Features that rows of a figure draw, each once; ``split`` is that of a row which names none."""
        features = {}
        for row in rows:
            if "run" in row:
                run, drawn = self._configuration.run(paper, row["run"]), row.get("split", split)
                if made := self._training.features(run, drawn):
                    features[f"{run.name}@{drawn}"] = made
        return list(features.items())

    # -------------------------------------------------------------------------------------------- everything

    def tables(self) -> list[Artifact]:
        """Every table of every paper."""
        return [self.table(p, name) for p, paper in self._papers.items() for name in paper.tables]

    def figures(self) -> list[Artifact]:
        """Every figure of every paper."""
        return [self.figure(p, name) for p, paper in self._papers.items() for name in paper.figures]

    def targets(self) -> dict[str, list[Artifact]]:
        """What can be asked for by name: a paper, or one of its tables and figures (``mpft-table1``)."""
        targets: dict[str, list[Artifact]] = {}
        for name, paper in self._papers.items():
            own = {f"{name}-{table}": [self.table(name, table)] for table in paper.tables}
            own |= {f"{name}-{figure}": [self.figure(name, figure)] for figure in paper.figures}
            targets |= {name: [artifact for made in own.values() for artifact in made]} | own
        return targets

    def targets_and_rows(self) -> dict[str, list[Artifact]]:
        """`targets`, and the rows that can be asked for alone."""
        return self.targets() | {target: [self.row(target)] for target in self.rows()}

    @answered_once
    def report(self) -> Artifact:
        """The page that holds all tables and figures."""
        settings = {
            "name": self._config.name,
            "banner": self._config.banner,
            "papers": {key: paper.title for key, paper in self._papers.items()},
        }
        needs = {"tables": [("", a) for a in self.tables()], "figures": [("", a) for a in self.figures()]}
        return self._make("report", self._config.name, settings, needs)


def _mappings(entries: Any) -> list[Mapping[str, Any]]:
    """Rows or columns as far as they are mappings; where there are none, one that says nothing."""
    if not isinstance(entries, list) or not entries:
        return [{}]
    return [entry if isinstance(entry, Mapping) else {} for entry in entries]
