"""What the plan knows of numbers before any is made: which ones a run will have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tellsign.plan.artifact import Artifact
from tellsign.plan.configuration import Configuration, known_subsets
from tellsign.plan.recipes import Run

Facts = dict[str, str | None]
"""What is known of a number; a subset that is None may have any name."""


def numbers_to_come(configuration: Configuration, metrics: Iterable[Artifact]) -> dict[str, list[Facts]]:
    """The numbers that runs will have, by ``paper/name``.

    Args:
        configuration: What the runs are of.
        metrics: The metrics of the runs.
    """
    numbers: dict[str, list[Facts]] = {}
    for artifact in metrics:
        run = configuration.runs[f"{artifact.settings['paper']}/{artifact.settings['run']}"]
        numbers.setdefault(run.full_name, []).extend(_numbers_of(configuration, run, artifact))
    return numbers


def _numbers_of(configuration: Configuration, run: Run, metrics: Artifact) -> list[Facts]:
    facts = metrics.settings
    return [
        {
            "protocol": facts["protocol"],
            "perturbation": test["perturbation"],
            "benchmark": test["benchmark"],
            "checkpoint": rule,
            "subset": subset,
        }
        for test, (_, split) in zip(facts["tests"].values(), metrics.needs["splits"], strict=True)
        for rule in checkpoint_rules(run, facts)
        for subset in _subsets(configuration, split.name)
    ]


def _subsets(configuration: Configuration, name: str) -> list[str | None]:
    """Subsets that a split may have, and their mean; None for those that only the images know."""
    split = configuration.config.splits[name]
    return ["mean", *(split.subsets or known_subsets(configuration.config, split.benchmark) or [None])]


def checkpoint_rules(run: Run, protocol: dict[str, Any]) -> list[str]:
    """Ways to choose a checkpoint that a run's metrics will know."""
    best = ["best"] if protocol["validation"] is not None else []
    return ["last", *best, *(["mean", "epoch"] if run.recipe.epochs_kept() > 1 else [])]
