"""The plan of trainings and their scores. What depends on a recipe's kind is here and in `tellsign.plan.recipes`."""

from __future__ import annotations

from typing import Any

from tellsign.detectors.registry import METHODS
from tellsign.errors import UserError, choose
from tellsign.methods.masks import MASKS
from tellsign.networks.backbones import BACKBONES
from tellsign.plan.annotation import AnnotationPlan
from tellsign.plan.artifact import Artifact, Workshop, answered_once
from tellsign.plan.configuration import Configuration
from tellsign.plan.data import DataPlan
from tellsign.plan.networks import Networks
from tellsign.plan.recipes import Run, Start, start_of, training_key
from tellsign.registry import Record
from tellsign.schema.data import Perturbation, Test
from tellsign.schema.loading import plain
from tellsign.schema.training import Data, EarlyStopping, FeatureRecipe, Pretrain, Recipe
from tellsign.training.optimisers import OPTIMISERS
from tellsign.training.schedules import SCHEDULES


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
        settings = plain(spec) | {"backbone": self._network(spec.backbone.name, spec.backbone.weights, where)}
        del settings["split"], settings["decode"]
        entries = (*self.encoder_entries(paper, name), *optimisation_entries(spec))
        if spec.decode == "on_the_fly":
            split = self._data.split(spec.split)
            index = self._data.index(self._config.splits[spec.split].benchmark)
            needs = {"split": split, "made": index.needs.get("made") or None}
            return self._make("pretrain", f"{paper}/{name}", settings, needs, roots=index.roots, entries=entries)
        needs = {"crops": self._data.whole_images(spec.split)}
        return self._make("pretrain", f"{paper}/{name}", settings, needs, entries=entries)

    def encoder_entries(self, paper: str, name: str) -> tuple[Record, ...]:
        """The entries of registries that an encoder of `rescale`'s pre-training is built of."""
        spec: Pretrain = choose(self._configuration.papers[paper].pretrain, name, f"pretrain section of {paper}")
        return (BACKBONES.find(spec.backbone.name),)

    @answered_once
    def checkpoint(self, run: Run, seed: int) -> Artifact:
        """The checkpoint of a run at a seed."""
        data: Data = run.recipe.data
        split = self._data.split(data.split)
        self._check_sample(data, run.place)
        settings = plain(run.recipe) | {"seed": seed, "keep": self._keeps[self._training[run.full_name], seed]}
        settings["data"] = {"subsets": list(data.subsets), "count": data.count}
        del settings["bias"]
        if isinstance(run.recipe, FeatureRecipe):
            return self._trained_head(run, run.recipe, seed, settings, split)
        return self._trained(run, run.recipe, seed, settings, split)

    def _trained_head(
        self, run: Run, recipe: FeatureRecipe, seed: int, settings: dict[str, Any], split: Artifact
    ) -> Artifact:
        crops = self._data.crops(recipe.data.split, "whole", 0, recipe.data.perturbation, recipe.bias)
        settings.pop("annotate")
        features = self._annotation.embed(run.paper, recipe.annotate, crops)
        needs = {"split": split, "inputs": [("features", features)]}
        entries = (*detector_entries(recipe), *optimisation_entries(recipe))
        return self._make("train_head", f"{run.full_name}-s{seed}", settings, needs, entries=entries)

    def _trained(self, run: Run, recipe: Recipe, seed: int, settings: dict[str, Any], split: Artifact) -> Artifact:
        data = recipe.data
        crops = self._data.crops(data.split, "whole", 0, data.perturbation, recipe.bias, recipe.resize)
        settings["backbone"] = self._network(recipe.backbone.name, recipe.backbone.weights, run.place)
        start = self._start(run, recipe, seed)
        settings["start"] = start_of(recipe).kind or None
        if start is not None:
            settings["backbone"] |= {"weights": "none", "digest": "none"}
        # resizing enters by the crops; tests enter nothing
        del settings["resize"], settings["resize_test"], settings["crop_test"]
        needs: dict[str, Artifact | list[tuple[str, Artifact]] | None]
        needs = {"split": split, "inputs": [("crops", crops)], "start": start}
        if (stop := recipe.stop) is not None:
            needs["validation_split"] = self._data.split(stop.split)
            self._check_sample(stop, run.place)
            del settings["stop"]["split"]
            seen = self._data.crops(stop.split, "center", recipe.crop, Perturbation(), recipe.bias, recipe.resize)
            needs["validation_inputs"] = [("crops", seen)]
        entries = (*detector_entries(recipe), MASKS.find(recipe.mask.name), *optimisation_entries(recipe))
        return self._make("train", f"{run.full_name}-s{seed}", settings, needs, entries=entries)

    def _check_sample(self, sample: Data | EarlyStopping, where: str) -> None:
        split = self._config.splits[sample.split]
        for subset in sample.subsets if split.subsets else ():
            choose(dict.fromkeys(split.subsets), subset, f"subset of split {sample.split!r} in {where}")
        if isinstance(sample.count, int) and isinstance(split.count, int) and sample.count > split.count:
            raise UserError(
                f"{where}: count {sample.count} asks for more images a subset than split {sample.split!r} holds, "
                f"{split.count}. Ask for fewer, or raise the split's count."
            )

    def _start(self, run: Run, recipe: Recipe, seed: int) -> Artifact | None:
        start = start_of(recipe)
        if start == Start():
            if recipe.shots is not None:
                raise UserError(f"{run.place} has shots but no start: say start: run:NAME.")
            return None
        if start.kind == "pretrain":
            return self.pretrain(run.paper, start.name)
        if start.kind == "run":
            other = self._configuration.run(run.paper, start.name)
            if seed not in other.seeds:
                raise UserError(
                    f"{run.place} starts from run {start.name} at seed {seed}, which that run has not; "
                    f"its seeds are {list(other.seeds)}."
                )
            return self.checkpoint(other, seed)
        raise UserError(f"{run.place}: start is {recipe.start!r}; it must be pretrain:NAME or run:NAME.")

    @answered_once
    def score(self, run: Run) -> Artifact:
        """Scores of all seeds of a run on all of its test sets."""
        checkpoints = [(str(seed), self.checkpoint(run, seed)) for seed in run.seeds]
        settings: dict[str, Any] = {"paper": run.paper, "run": run.name, "keep": run.recipe.keep, "tests": {}}
        settings |= {"method": run.recipe.method, "view": {}}
        splits, inputs = [], []
        for test_name in run.tests:
            test: Test = self._configuration.papers[run.paper].tests[test_name]
            for split in test.splits:
                key = test_name if len(test.splits) == 1 else f"{test_name}.{split}"
                mark = "none" if test.perturbation.name == "none" else test_name
                settings["tests"][key] = {"benchmark": self._benchmark_of(test), "perturbation": mark}
                splits.append((key, self._data.split(split)))
                what, seen = self._view(run, split, test)
                inputs.append((f"{what}@{key}", seen))
        if isinstance(run.recipe, Recipe):
            settings["view"]["crop"] = run.recipe.crop_test or run.recipe.crop
        stage = "score_head" if isinstance(run.recipe, FeatureRecipe) else "score"
        needs = {"checkpoints": checkpoints, "splits": splits, "inputs": inputs}
        return self._make(stage, run.full_name, settings, needs, entries=detector_entries(run.recipe))

    def _view(self, run: Run, split: str, test: Test) -> tuple[str, Artifact]:
        """What a run sees of a test split, and what that is called: features, or centre crops."""
        recipe = run.recipe
        if isinstance(recipe, FeatureRecipe):
            crops = self._data.crops(split, "whole", 0, test.perturbation, recipe.bias)
            return "features", self._annotation.embed(run.paper, recipe.annotate, crops)
        side = recipe.crop_test or recipe.crop
        return "crops", self._data.crops(split, "center", side, test.perturbation, recipe.bias, recipe.resize_test)

    def _benchmark_of(self, test: Test) -> str:
        """What the benchmark of a test set is called: that of its split, or those of its splits."""
        splits = self._config.splits
        return "+".join(dict.fromkeys(choose(splits, split, "split").benchmark for split in test.splits))

    def detector(self, run: Run) -> Artifact | None:
        """The checkpoint that figures show of a run on images; None for a run on features."""
        return None if isinstance(run.recipe, FeatureRecipe) else self.checkpoint(run, run.seeds[0])

    def features(self, run: Run, split: str) -> Artifact | None:
        """Features of a split as a run sees them; None for a run on images."""
        if not isinstance(run.recipe, FeatureRecipe):
            return None
        whole = self._data.whole_images(split, run.recipe.bias)
        return self._annotation.embed(run.paper, run.recipe.annotate, whole)


def detector_entries(recipe: Recipe | FeatureRecipe) -> tuple[Record, ...]:
    """The entries of registries that train and score a recipe's detector."""
    return (METHODS.find(recipe.method), *network_entries(recipe))


def network_entries(recipe: Recipe | FeatureRecipe) -> tuple[Record, ...]:
    """The entries of registries that a recipe's detector is built of; their code enters wherever it is built."""
    return (BACKBONES.find(recipe.backbone.name),) if isinstance(recipe, Recipe) else ()


def optimisation_entries(recipe: Recipe | FeatureRecipe | Pretrain) -> tuple[Record, Record]:
    """The entries of registries that say how a recipe's parameters move; their code enters what is trained."""
    return OPTIMISERS.find(recipe.optimiser.name), SCHEDULES.find(recipe.schedule.kind)
