"""What artifacts cost before any is made: images, bytes and hours, from counts and from measured rates.

Nothing is guessed here: ``config/rates.yaml`` states how fast machines are and how large images are on average, with
the sources. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tellsign.commands.amounts import UNKNOWN, Amount, amount, total
from tellsign.commands.image_counts import ImageCounter
from tellsign.commands.rates import Rates
from tellsign.detectors.recipes.base import Recipe, Work
from tellsign.detectors.registry import recipe_class
from tellsign.plan.artifact import Artifact
from tellsign.schema.frozen import frozen_network
from tellsign.stages.registry import STAGES


@dataclass(frozen=True)
class Cost:
    """What one artifact takes, or several.

    Attributes:
        trained: Images (of pre-training: patches) that trainings look at, epochs counted.
        scored: Images that are scored, once for every checkpoint.
        bytes: On disk.
        hours: Of the machine.
        unrated: What it computes and no rate is known for.
        scaled: Networks whose rate was measured at another image size and follows here from the number of pixels.
    """

    trained: Amount = field(default_factory=Amount)
    scored: Amount = field(default_factory=Amount)
    bytes: Amount = field(default_factory=Amount)
    hours: Amount = field(default_factory=Amount)
    unrated: frozenset[str] = frozenset()
    scaled: frozenset[str] = frozenset()

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.trained + other.trained,
            self.scored + other.scored,
            self.bytes + other.bytes,
            self.hours + other.hours,
            self.unrated | other.unrated,
            self.scaled | other.scaled,
        )

    def without_hours(self) -> Cost:
        """The same of what is made already and takes no more time."""
        return Cost(self.trained, self.scored, self.bytes)


def _recipe_of(settings: Mapping[str, Any]) -> type[Recipe]:
    """The class of the recipe that a training's settings come from."""
    return recipe_class(settings["method"], "a training")


def _batch(settings: Mapping[str, Any]) -> int:
    """Patches of a batch of pre-training."""
    return math.prod(settings[name] for name in ("n_ratios", "n_phases", "n_images", "n_patches"))


class Costs:
    """Costs of artifacts.

    Args:
        counter: Counts images.
        rates: Sizes and rates.
        machine: A name among its machines.
    """

    def __init__(self, counter: ImageCounter, rates: Rates, machine: str) -> None:
        self._counter, self._rates = counter, rates
        self._machine = rates.machines[machine]

    def of(self, artifact: Artifact) -> Cost:
        """What one artifact takes, without what it needs."""
        reckoned = {
            "pixels": self._crops,
            "training": self._train,
            "head": self._train,
            "pretraining": self._pretrain,
            "scoring": self._score,
            "annotation": self._annotated,
        }
        cost = STAGES[artifact.stage].cost
        return reckoned[cost](artifact) if cost else Cost()

    def _hours(self, images: Amount, network: str, work: Literal["train", "score"], side: int | None) -> Cost:
        rate = self._machine.rates.get(network)
        per_second = getattr(rate, work) if rate else None
        if rate is None or per_second is None:
            return Cost(hours=UNKNOWN, unrated=frozenset([network if "/" in network else f"{work}/{network}"]))
        scaled = side is not None and rate.side is not None and side != rate.side
        if scaled:
            assert rate.side and side
            per_second *= (rate.side / side) ** 2
        return Cost(hours=images * (1 / per_second / 3600), scaled=frozenset([network] if scaled else []))

    def _weights(self, network: str, copies: Amount) -> Amount:
        size = self._rates.networks.get(network)
        return copies * (4.0 * size.parameters) if size else UNKNOWN

    def _head(self, network: str, head: Mapping[str, Any], images: Amount) -> Amount:
        """A head alone, whose backbone's weights lie in their own file."""
        size = self._rates.networks.get(network)
        if size is None:
            return UNKNOWN
        if head["name"] == "nearest":  # it stores features
            return images * (4.0 * size.dim)
        return Amount(4.0 * (size.dim + 1) * head.get("hidden", 1))

    def _crops(self, artifact: Artifact) -> Cost:
        drawn = self._counter.drawn(artifact.needs["split"][0][1])
        settings = artifact.settings
        if settings["store"] == "center":
            pixels = Amount(settings["size"] ** 2)
        elif settings["bias_size"]:
            pixels = Amount(settings["bias_size"] ** 2)
        elif settings["resize"]:  # to the shorter side: at least the square
            pixels = Amount(settings["resize"]["size"] ** 2, whole=settings["resize"]["mode"] == "squash")
        else:
            pixels = amount(None if drawn.megapixels is None else drawn.megapixels * 1e6)
        return Cost(bytes=Amount(drawn.unique.value * pixels.value * 3, drawn.unique.whole and pixels.whole))

    def _train(self, artifact: Artifact) -> Cost:
        settings, drawn = artifact.settings, self._counter.drawn(artifact.needs["split"][0][1])
        subsets, shots, epochs = settings["data"]["subsets"], settings.get("shots"), max(settings.get("epochs", 1), 1)
        copies = Amount(min(settings["keep"], epochs))
        if shots is None:
            an_epoch = drawn.images(subsets, settings["data"]["count"])
        else:
            targets = subsets or list(drawn.counts)
            an_epoch, copies = Amount(2 * shots * len(targets)), Amount(len(targets))
        if settings.get("epoch_steps") is not None:
            an_epoch = Amount(settings["epoch_steps"] * settings["batch_size"])
        made = Cost(trained=an_epoch * epochs)
        work = _recipe_of(settings).work(settings)
        if work is None:
            return made
        stored = self._weights(work.network, copies)
        if frozen_network(settings) is not None:
            stored = self._head(work.network, settings["head"], an_epoch) * copies.value
        made += self._worked(an_epoch * epochs, work) + Cost(bytes=stored)
        for _, split in artifact.needs.get("validation_split", ()):
            stop = settings["stop"]
            looked_at = self._counter.drawn(split).images(stop["subsets"], stop["count"]) * epochs
            made += self._worked(looked_at, work._replace(trained=False))
        return made

    def _worked(self, images: Amount, work: Work) -> Cost:
        return self._hours(images, work.network, "train" if work.trained else "score", work.side)

    def _pretrain(self, artifact: Artifact) -> Cost:
        settings, steps = artifact.settings, artifact.settings["steps"]
        if steps is None:
            inputs = [*artifact.needs.get("split", ()), *artifact.needs.get("crops", ())]
            split = inputs[0][1] if inputs[0][1].stage == "split" else inputs[0][1].needs["split"][0][1]
            images = self._counter.drawn(split).images() + Amount(-settings["held_out"])
            batches = images * (1 / settings["n_images"])
        else:
            batches = Amount(steps)
        patches, warm_up = _batch(settings), settings["warm_up"]
        seen = batches * (settings["epochs"] * patches)
        if warm_up is not None:
            seen += Amount(warm_up["steps"] * (_batch(warm_up) - patches))
        network = settings["backbone"]["name"]
        made = self._hours(seen, network, "train", settings["patch"])
        return made + Cost(trained=seen, bytes=self._weights(network, Amount(1)))

    def _score(self, artifact: Artifact) -> Cost:
        checkpoints = [checkpoint for _, checkpoint in artifact.needs["checkpoints"]]
        first = checkpoints[0].settings
        few_shot = first.get("shots") is not None  # each subset has weights of its own
        kept = 1 if few_shot else min(artifact.settings.get("keep", 1), max(first.get("epochs", 1), 1))
        drawn = [self._counter.drawn(split) for _, split in artifact.needs["splits"]]
        factor = kept * len(checkpoints)
        scored = total(d.unique for d in drawn) * factor
        rows = total(d.images() for d in drawn) * factor
        made = Cost(scored=scored, bytes=rows * self._rates.score_bytes)
        work = _recipe_of(first).work(first, artifact.settings["view"])
        return made if work is None else made + self._worked(scored, work)

    def _annotated(self, artifact: Artifact) -> Cost:
        """Captions, boxes or embeddings, an image at a time."""
        (_, crops), *_ = artifact.needs["crops"]
        images = self._counter.drawn(crops.needs["split"][0][1]).unique
        if artifact.stage != "embed":
            key = {"caption": "captioner", "ground": "grounder"}[artifact.stage]
            return self._hours(images, f"{artifact.stage}/{artifact.settings[key]['name']}", "score", None)
        network = artifact.settings["clip"]["name"]
        size = self._rates.networks.get(network)
        stored = images * (2 * 4.0 * size.dim) if size else UNKNOWN  # image and caption; objects come on top
        return self._hours(images, network, "score", None) + Cost(bytes=stored)
