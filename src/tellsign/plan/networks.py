"""Networks in the settings of artifacts: where their weights lie and what they are; and which ones are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tellsign.detectors.recipes.base import Start
from tellsign.errors import UserError
from tellsign.plan.configuration import Configuration, named_under
from tellsign.schema.annotation import Annotate, NoCaptioner, NoGrounder
from tellsign.schema.paper import Paper
from tellsign.schema.weights import MissingWeightsError, ResolvedWeights

FindWeights = Callable[[str, str], ResolvedWeights]
"""The place and digest of what a ``weights:`` names, for the network of a name."""


class Networks:
    """Finds weights, each once for a network: hundreds of runs name the same.

    Args:
        find: Finds what a ``weights:`` names.

    Attributes:
        missing: What ``weights:`` names and is not there.
    """

    def __init__(self, find: FindWeights) -> None:
        self._find = find
        self._resolved: dict[tuple[str, str], ResolvedWeights | None] = {}  # None is missing
        self.missing: set[str] = set()

    def settings(self, name: str, weights: str, where: str, front: str | None = None) -> dict[str, str]:
        """See `settings_of`.

        Raises:
            UserError: its weights cannot be right; ``where`` names the place.
        """
        if weights == "shipped" and not name.startswith("demo"):
            raise UserError(
                f"{where}: weights: shipped – only the demo's networks have weights that ship with the package, "
                f"{name} has not. Give weights a name of config/weights.yaml, a path, or none (random)."
            )
        if (weights, name) not in self._resolved:
            try:
                self._resolved[weights, name] = self._find(weights, name)
            except MissingWeightsError:
                self._resolved[weights, name] = None
                self.missing.add(weights)
            except UserError as problem:
                raise UserError(f"{where}: {problem}") from None
        resolved = self._resolved[weights, name]
        if resolved is None:
            resolved = ResolvedWeights(weights, "missing")
        return settings_of(name, resolved, front)


def settings_of(name: str, resolved: ResolvedWeights, front: str | None = None) -> dict[str, str]:
    """Settings of a network: its name, the place and digest of its weights, and its front where it is not its own."""
    own = {} if front is None else {"front": front}
    return {"name": name, "weights": resolved.path, "digest": resolved.digest, **own}


class Use(NamedTuple):
    """A place of the configuration that says ``weights:``.

    Attributes:
        network: The network that starts from them.
        weights: What it says.
        place: The run or section.
    """

    network: str
    weights: str
    place: str


def uses_of_weights(configuration: Configuration) -> Iterator[Use]:
    """Every ``weights:`` of the configuration that something needs. Reads no data."""
    for full, run in configuration.runs.items():
        for network in run.recipe.networks().values() if run.recipe.origin() == Start() else ():
            yield Use(network.name, network.weights, full)
    for paper in configuration.papers.values():
        used = sections_used(configuration, paper)
        for name, spec in paper.annotate.items():
            for network, weights in networks_of_annotation(spec) if name in used else ():
                yield Use(network, weights, f"{paper.paper}: annotate {name}")
        for name, spec in paper.pretrain.items():
            if name in used:
                yield Use(spec.backbone.name, spec.backbone.weights, f"{paper.paper}: pretrain {name}")


def networks_needed(configuration: Configuration) -> dict[str, list[str]]:
    """What the configuration gives as ``weights:``, with the runs and sections that say so. Reads no data."""
    users: dict[str, dict[str, None]] = {}
    for use in uses_of_weights(configuration):
        users.setdefault(use.weights, {})[use.place] = None
    return {weights: list(places) for weights, places in users.items()}


def networks_of_annotation(spec: Annotate) -> list[tuple[str, str]]:
    """Name and ``weights:`` of CLIP, the captioner and the grounder of an ``annotate`` section, and of what belongs to
    the grounder.
    """
    networks = [(spec.clip.name, spec.clip.weights)]
    for network in (spec.captioner, spec.grounder):
        if not isinstance(network, NoCaptioner | NoGrounder):
            networks.append((network.name, network.weights))
    if not isinstance(spec.grounder, NoGrounder):
        networks += [network for network in spec.grounder.beside().values() if network is not None]
    return networks


def sections_used(configuration: Configuration, paper: Paper) -> set[str]:
    """Sections of ``annotate`` and ``pretrain`` that a run or a figure of the paper names."""
    recipes = [run.recipe for run in configuration.runs_of(paper.paper)]
    figures = list(paper.figures.values())
    used = {*named_under(figures, "annotate"), *named_under(figures, "encoder")}
    starts = [recipe.origin() for recipe in recipes]
    used = used.union(*(recipe.annotations() for recipe in recipes))
    return used | {start.name for start in starts if start.kind == "pretrain"}
