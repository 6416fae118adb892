"""Networks in the settings of artifacts: where their weights lie and what they are; and which ones are needed."""

from __future__ import annotations

from collections.abc import Callable

from tellsign.detectors.recipes.base import Start
from tellsign.errors import UserError
from tellsign.plan.configuration import Configuration, named_under
from tellsign.schema.annotation import Annotate, NoCaptioner, NoGrounder
from tellsign.schema.paper import Paper
from tellsign.schema.weights import MissingWeightsError, ResolvedWeights

FindWeights = Callable[[str], ResolvedWeights]
"""The place and digest of what a ``weights:`` names."""


class Networks:
    """Finds weights, each once: hundreds of runs name the same.

    Args:
        find: Finds what a ``weights:`` names.

    Attributes:
        missing: What ``weights:`` names and is not there.
    """

    def __init__(self, find: FindWeights) -> None:
        self._find = find
        self._resolved: dict[str, ResolvedWeights | None] = {}  # None is missing
        self.missing: set[str] = set()

    def settings(self, name: str, weights: str, where: str, front: str | None = None) -> dict[str, str]:
        """Settings of a network: its name, the place and digest of its weights, and its front where it is not its own.

        Raises:
            UserError: its weights cannot be right; ``where`` names the place.
        """
        if weights == "shipped" and not name.startswith("demo"):
            raise UserError(
                f"{where}: weights: shipped – only the demo's networks have weights that ship with the package, "
                f"{name} has not. Give weights a name of config/weights.yaml, a path, or none (random)."
            )
        if weights not in self._resolved:
            try:
                self._resolved[weights] = self._find(weights)
            except MissingWeightsError:
                self._resolved[weights] = None
                self.missing.add(weights)
            except UserError as problem:
                raise UserError(f"{where}: {problem}") from None
        resolved = self._resolved[weights]
        if resolved is None:
            resolved = ResolvedWeights(weights, "missing")
        own = {} if front is None else {"front": front}
        return {"name": name, "weights": resolved.path, "digest": resolved.digest, **own}


def networks_needed(configuration: Configuration) -> dict[str, list[str]]:
    """What the configuration gives as ``weights:``, with the runs and sections that say so. Reads no data."""
    users: dict[str, dict[str, None]] = {}
    for full, run in configuration.runs.items():
        for network in run.recipe.networks().values() if run.recipe.origin() == Start() else ():
            users.setdefault(network.weights, {})[full] = None
    for paper in configuration.papers.values():
        used = sections_used(configuration, paper)
        for name, spec in paper.annotate.items():
            for weights in weights_of_annotation(spec) if name in used else ():
                users.setdefault(weights, {})[f"{paper.paper}: annotate {name}"] = None
        for name, spec in paper.pretrain.items():
            if name in used:
                users.setdefault(spec.backbone.weights, {})[f"{paper.paper}: pretrain {name}"] = None
    return {weights: list(places) for weights, places in users.items()}


def weights_of_annotation(spec: Annotate) -> list[str]:
    """What an ``annotate`` section needs: of CLIP, the captioner and the grounder with what belongs to it."""
    weights = [spec.clip.weights]
    for network in (spec.captioner, spec.grounder):
        if not isinstance(network, NoCaptioner | NoGrounder):
            weights.append(network.weights)
    if not isinstance(spec.grounder, NoGrounder):
        weights += [network[1] for network in spec.grounder.beside().values() if network is not None]
    return weights


def sections_used(configuration: Configuration, paper: Paper) -> set[str]:
    """Sections of ``annotate`` and ``pretrain`` that a run or a figure of the paper names."""
    recipes = [run.recipe for run in configuration.runs_of(paper.paper)]
    figures = list(paper.figures.values())
    used = {*named_under(figures, "annotate"), *named_under(figures, "encoder")}
    starts = [recipe.origin() for recipe in recipes]
    used = used.union(*(recipe.annotations() for recipe in recipes))
    return used | {start.name for start in starts if start.kind == "pretrain"}
