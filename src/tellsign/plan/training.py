"""The plan of trainings and their scores: what depends on the method, its recipe answers (`tellsign.detectors`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tellsign.detectors.recipes.base import Embeddings, OwnNetwork, Pixels, Source, Start, optimisation_entries
from tellsign.detectors.registry import METHODS
from tellsign.errors import UserError, choose
from tellsign.networks.backbones import BACKBONES
from tellsign.plan.annotation import AnnotationPlan
from tellsign.plan.artifact import Artifact, Workshop, answered_once
from tellsign.plan.configuration import Configuration, located
from tellsign.plan.data import DataPlan, index_of
from tellsign.plan.networks import Networks
from tellsign.plan.recipes import Run, training_key
from tellsign.registry import Record
from tellsign.schema.data import Bias, Perturbation, Test
from tellsign.schema.frozen import PART, frozen_network
from tellsign.schema.loading import plain
from tellsign.schema.networks import Encoder
from tellsign.schema.training import Data, EarlyStopping, Pretrain


class TrainingPlan:
    """Artifacts of training and scoring.

    Args:
        configuration: What it is the plan of.
        workshop: Makes the artifacts.
        data: The plan of its data.
        annotation: The plan of its annotations.
        networks: Finds weights.
    """

    def __init__(
        self,
        configuration: Configuration,
        workshop: Workshop,
        data: DataPlan,
        annotation: AnnotationPlan,
        networks: Networks,
    ) -> None:
        self._configuration, self._config = configuration, configuration.config
        self._make, self._network = workshop.make, networks.settings
        self._data, self._annotation = data, annotation
        # of equal trainings that are wanted with more or fewer epochs, the one that keeps most is made
        self._training = {full: training_key(run) for full, run in configuration.runs.items()}
        self._keeps: dict[tuple[str, int], int] = {}
        for full, run in configuration.runs.items():
            for seed in run.seeds:
                key = (self._training[full], seed)
                self._keeps[key] = max(self._keeps.get(key, 0), run.recipe.keep)

    @answered_once
    def pretrain(self, paper: str, name: str) -> Artifact:
        """An encoder of `rescale`'s pre-training."""
        spec: Pretrain = choose(self._configuration.papers[paper].pretrain, name, f"pretrain section of {paper}")
        where = f"{paper}: pretrain {name}"
        settings = plain(spec) | {"backbone": self._network_of(spec.backbone, where)}
        del settings["split"], settings["decode"]
        entries = (*self.encoder_entries(paper, name), *optimisation_entries(spec.optimiser, spec.schedule))
        if spec.decode == "on_the_fly":
            split = self._data.split(spec.split)
            index = index_of(split)
            needs = {"split": split, "made": index.needs.get("made") or None}
            return self._make("pretrain", f"{paper}/{name}", settings, needs, roots=index.roots, entries=entries)
        needs = {"crops": self._data.crops(spec.split, "whole", 0, Perturbation(), Bias())}
        return self._make("pretrain", f"{paper}/{name}", settings, needs, entries=entries)

    def encoder_entries(self, paper: str, name: str) -> tuple[Record, ...]:
        """The entries of registries that an encoder of `rescale`'s pre-training is built of."""
        spec: Pretrain = choose(self._configuration.papers[paper].pretrain, name, f"pretrain section of {paper}")
        return (BACKBONES.find(spec.backbone.name),)

    @answered_once
    def checkpoint(self, run: Run, seed: int) -> Artifact:
        """The checkpoint of a run at a seed."""
        recipe, data = run.recipe, run.recipe.data
        with located(run.place):
            choose(self._config.splits, data.split, "split")
        self._check_sample(data, run.place)
        split = self._data.split(data.split, tuple(data.subsets))
        settings = recipe.training_settings()
        settings |= {"seed": seed, "keep": self._keeps[self._training[run.full_name], seed]}
        for field, network in recipe.networks().items():
            settings[field] = self._network_of(network, run.place)
        needs: dict[str, Artifact | list[tuple[str, Artifact]] | None] = {
            "split": split,
            "inputs": self._inputs(run, recipe.inputs(), data.split, data.perturbation, tuple(data.subsets)),
        }
        if (start := self._start(run, seed)) is not None:
            needs["start"] = start
            base = frozen_network(start.settings) or {"weights": "none", "digest": "none"}
            for field in recipe.networks():
                settings[field] |= {"weights": base["weights"], "digest": base["digest"]}
        if (validation := recipe.validation()) is not None:
            self._check_sample(validation, run.place)
            needs["validation_split"] = self._data.split(validation.split, tuple(validation.subsets))
            sources = recipe.validation_inputs()
            looked_at = (validation.split, Perturbation(), tuple(validation.subsets))
            needs["validation_inputs"] = self._inputs(run, sources, *looked_at)
        stage = "train" if recipe.needs_gpu else "train_head"
        entries = (*detector_entries(run), *recipe.training_entries())
        return self._make(stage, f"{run.full_name}-s{seed}", settings, needs, entries=entries)

    def _network_of(self, network: Encoder | OwnNetwork, where: str) -> dict[str, str]:
        return self._network(network.name, network.weights, where, network.front)

    def _inputs(
        self,
        run: Run,
        sources: Mapping[str, Source],
        split: str,
        perturbation: Perturbation,
        subsets: tuple[str, ...] = (),
    ) -> list[tuple[str, Artifact]]:
        """What a run's method looks at of a split, or of its subsets, by role."""
        return [(role, self._input(run, source, split, perturbation, subsets)) for role, source in sources.items()]

    def _input(
        self, run: Run, source: Source, split: str, perturbation: Perturbation, subsets: tuple[str, ...] = ()
    ) -> Artifact:
        """What makes an input; a new kind of source needs a case here, a new method none."""
        match source:
            case Pixels(side, resize):
                store = "whole" if side is None else "center"
                return self._data.crops(split, store, side or 0, perturbation, run.recipe.bias, resize, subsets)
            case Embeddings(section):
                crops = self._data.crops(split, "whole", 0, perturbation, run.recipe.bias, subsets=subsets)
                return self._annotation.embed(run.paper, section, crops)

    def _check_sample(self, sample: Data | EarlyStopping, where: str) -> None:
        split = choose(self._config.splits, sample.split, "split")
        known = dict.fromkeys(self._data.known_subsets(sample.split) if sample.subsets else ())
        for subset in sample.subsets if known else ():
            choose(known, subset, f"subset of split {sample.split!r} in {where}")
        if isinstance(sample.count, int) and isinstance(split.count, int) and sample.count > split.count:
            raise UserError(
                f"{where}: count {sample.count} asks for more images a subset than split {sample.split!r} holds, "
                f"{split.count}. Ask for fewer, or raise the split's count."
            )

    def _start(self, run: Run, seed: int) -> Artifact | None:
        start = run.recipe.origin()
        if start == Start():
            return None
        if start.kind == "pretrain":
            encoder = self.pretrain(run.paper, start.name)
            self._check_front(run, encoder.settings["backbone"].get("front"))
            return encoder
        with located(run.place):
            other = self._configuration.run(run.paper, start.name)
        if seed not in other.seeds:
            raise UserError(
                f"{run.place} starts from run {start.name} at seed {seed}, which that run has not; "
                f"its seeds are {list(other.seeds)}."
            )
        for network in other.recipe.networks().values():
            self._check_front(run, network.front)
        return self.checkpoint(other, seed)

    def _check_front(self, run: Run, front: str | None) -> None:
        """Raise UserError where a run would show another front to weights that were trained behind ``front``."""
        for field, network in run.recipe.networks().items():
            if network.front != front:
                told = ["null" if one is None else one for one in (network.front, front)]
                raise UserError(
                    f"{run.place} has {field}.front: {told[0]}, but what it starts from was trained with {told[1]}. "
                    f"Write {field}: {{front: {told[1]}}}."
                )

    @answered_once
    def score(self, run: Run) -> Artifact:
        """Scores of all seeds of a run on all of its test sets."""
        recipe = run.recipe
        checkpoints = [(str(seed), self.checkpoint(run, seed)) for seed in run.seeds]
        settings: dict[str, Any] = {"paper": run.paper, "run": run.name, "keep": recipe.keep, "tests": {}}
        settings |= {"method": recipe.method, "view": recipe.view(), "networks": frozen_networks(checkpoints[0][1])}
        splits, inputs = [], []
        for test_name in run.tests:
            test: Test = self._configuration.papers[run.paper].tests[test_name]
            for split in test.splits:
                key = test_name if len(test.splits) == 1 else f"{test_name}.{split}"
                mark = "none" if test.perturbation.name == "none" else test_name
                settings["tests"][key] = {"benchmark": self._benchmark_of(test), "perturbation": mark}
                splits.append((key, self._data.split(split)))
                seen = self._inputs(run, recipe.test_inputs(), split, test.perturbation)
                inputs += [(f"{role}@{key}", artifact) for role, artifact in seen]
        stage = "score" if recipe.needs_gpu else "score_head"
        needs = {"checkpoints": checkpoints, "splits": splits, "inputs": inputs}
        return self._make(stage, run.full_name, settings, needs, entries=detector_entries(run))

    def _benchmark_of(self, test: Test) -> str:
        """What the benchmark of a test set is called: that of its split, or those of its splits."""
        splits = self._config.splits
        return "+".join(dict.fromkeys(choose(splits, split, "split").benchmark for split in test.splits))

    def detector(self, run: Run) -> Artifact | None:
        """The checkpoint that figures show of a run on images; None for a run on features."""
        return None if self._embeddings(run) else self.checkpoint(run, run.seeds[0])

    def features(self, run: Run, split: str) -> Artifact | None:
        """Features of a split as a run sees them; None for a run on images."""
        embeddings = self._embeddings(run)
        return self._input(run, embeddings[0], split, Perturbation()) if embeddings else None

    def _embeddings(self, run: Run) -> list[Embeddings]:
        return [source for source in run.recipe.test_inputs().values() if isinstance(source, Embeddings)]


def frozen_networks(checkpoint: Artifact) -> dict[str, dict[str, str]]:
    """Networks whose weights a checkpoint leaves in their own file, which whatever loads it reads too, by setting."""
    network = frozen_network(checkpoint.settings)
    return {} if network is None else {PART: network}


def detector_entries(run: Run) -> tuple[Record, ...]:
    """The entries of registries that a run's training and its scoring share."""
    return (METHODS.find(run.recipe.method), *run.recipe.network_entries())
