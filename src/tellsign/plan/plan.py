"""The whole plan of a configuration, put together from its parts. Plain Python: no Snakemake, no torch, no drawing.

`tellsign.plan.configuration` reads; `data`, `annotation`, `training` and `results` say what follows from what, each for
its part of the way; `missing` says what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tellsign.plan.annotation import AnnotationPlan
from tellsign.plan.artifact import Artifact, Workshop, ancestors
from tellsign.plan.configuration import Configuration
from tellsign.plan.data import DataPlan, Look
from tellsign.plan.missing import missing_data_report, missing_inputs
from tellsign.plan.networks import FindWeights, Networks, networks_needed, uses_of_weights
from tellsign.plan.results import ResultsPlan
from tellsign.plan.training import TrainingPlan


class Plan:
    """All artifacts of a configuration.

    Args:
        config: The configuration as plain data.
        look: Gives the images below each root outside the pipeline, by key; folders named in the second argument are
            left out, and the third is the benchmark's ``watch``.
        file_digest: Gives the sha256 of a file.
        find_weights: Gives the place and digest of what a ``weights:`` names
            (`tellsign.networks.weights.WeightsCatalogue.find`).
        folder: Where relative paths of the configuration start.

    Attributes:
        config: The settings.
        papers: The papers by name.
        runs: Every run by ``paper/name``.
        missing: What ``weights:`` names and is not there. The plan goes on without, so that a dry run shows the whole;
            nothing may be run then.
        missing_folders: Folders of published benchmarks that are not there → the benchmarks that want them. The plan
            goes on without in the same way; see `missing_data_report`.

    Raises:
        UserError: anything in the configuration that cannot be right; nothing has been run by then.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        look: Look,
        file_digest: Callable[[Path], str],
        find_weights: FindWeights,
        folder: Path,
    ) -> None:
        self.configuration = read = Configuration.read(config, folder)
        self.config, self.papers, self.runs = read.config, read.papers, read.runs
        workshop, networks = Workshop(read.config.pins), Networks(find_weights)
        data = DataPlan(read, workshop, look)
        annotation = AnnotationPlan(read, workshop, networks)
        training = TrainingPlan(read, workshop, data, annotation, networks)
        results = ResultsPlan(read, workshop, data, training, file_digest)
        self.missing, self.missing_folders = networks.missing, data.missing_folders
        self.run, self.runs_in = read.run, read.runs_in
        self.index, self.split, self.crops = data.index, data.split, data.crops
        self.embed = annotation.embed
        self.pretrain, self.checkpoint, self.score = training.pretrain, training.checkpoint, training.score
        self.table, self.figure, self.report = results.table, results.figure, results.report
        self.tables, self.figures, self.targets = results.tables, results.figures, results.targets
        self.images, self.rows, self.row = data.images, results.rows, results.row
        self.subsets_in, self.parts_of = data.subsets_in, data.parts_of
        self.targets_and_rows = results.targets_and_rows

    def everything(self) -> dict[str, Artifact]:
        """All artifacts that tables, figures and report need, by path."""
        for run in self.runs.values():
            self.score(run)  # a run that no table names yet must be right all the same
        return ancestors([self.report()])

    def networks_needed(self) -> dict[str, list[str]]:
        """What the configuration gives as ``weights:``, with the runs and sections that say so. Reads no data."""
        return networks_needed(self.configuration)

    def networks_by_weights(self) -> dict[str, set[str]]:
        """What the configuration gives as ``weights:``, with the names of the networks that start from it."""
        networks: dict[str, set[str]] = {}
        for use in uses_of_weights(self.configuration):
            networks.setdefault(use.weights, set()).add(use.network)
        return networks

    def missing_inputs(self, artifacts: Iterable[Artifact]) -> tuple[set[str], set[str]]:
        """What artifacts and all that they need lack: values of ``weights:``, and folders of images."""
        return missing_inputs(artifacts, self.missing_folders)

    def missing_data_report(self, folders: Collection[str] | None = None) -> str:
        """Which folders are absent, of those given or of all, what of, and how to get each; empty when none is."""
        absent = {path: users for path, users in self.missing_folders.items() if folders is None or path in folders}
        return missing_data_report(absent, self.config.benchmarks)
