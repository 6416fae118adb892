"""What the plan knows of numbers before any is made: which a run will have, and whether a table asks for others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tellsign.errors import UserError, near_miss
from tellsign.plan.artifact import Artifact
from tellsign.plan.configuration import Configuration
from tellsign.plan.presentation import Cell
from tellsign.plan.recipes import Run

KEYS = ("protocol", "perturbation", "benchmark", "checkpoint", "subset")
"""What a cell says of its number, in the order in which it is looked up."""

HINTS = {
    "mean": " Keep more than one epoch in its recipe (keep).",
    "best": " Name a test set that chooses (protocol: {validation: NAME}).",
}
"""What gives a run the numbers of a checkpoint rule."""


class Measured:
    """The numbers that runs will have.

    Args:
        configuration: What the runs are of.
        metrics: The metrics of the runs.
    """

    def __init__(self, configuration: Configuration, metrics: Iterable[Artifact]) -> None:
        self._configuration = configuration
        self._numbers: dict[str, list[dict[str, str | None]]] = {}
        for artifact in metrics:
            full = f"{artifact.settings['paper']}/{artifact.settings['run']}"
            self._numbers.setdefault(full, []).extend(self._numbers_of(artifact))

    def of(self, full: str) -> list[dict[str, str | None]]:
        """What is known of each of a run's numbers; a subset that is None may have any name."""
        return self._numbers[full]

    def _numbers_of(self, artifact: Artifact) -> list[dict[str, str | None]]:
        facts = artifact.settings
        run = self._configuration.runs[f"{facts['paper']}/{facts['run']}"]
        return [
            {
                "protocol": facts["protocol"],
                "perturbation": test["perturbation"],
                "benchmark": test["benchmark"],
                "checkpoint": rule,
                "subset": subset,
            }
            for test, split in zip(facts["tests"].values(), artifact.needs["splits"], strict=True)
            for rule in checkpoint_rules(run, facts)
            for subset in self._subsets(split[1].name)
        ]

    def _subsets(self, name: str) -> list[str | None]:
        """Subsets that a split may have, and their mean; None for those that only the images know."""
        split = self._configuration.config.splits[name]
        return ["mean", *(split.subsets or self._configuration.known_subsets(split.benchmark) or [None])]


def checkpoint_rules(run: Run, protocol: dict[str, Any]) -> list[str]:
    """Ways to choose a checkpoint that a run's metrics will know."""
    best = ["best"] if protocol["validation"] is not None else []
    return ["last", *best, *(["mean", "epoch"] if run.recipe.epochs_kept() > 1 else [])]


def check_cell(cell: Cell, measured: Measured, paper: str, where: str) -> None:
    """Refuse a cell that no number will fit, or numbers of two test sets.

    Raises:
        UserError: names the run, the first key that fails, its near miss and what is known.
    """
    for name in cell.runs:
        full = name if "/" in name else f"{paper}/{name}"
        left = measured.of(full)
        for key in KEYS:
            wanted, known = getattr(cell, key), {number[key] for number in left}
            if None in known:
                continue
            names = sorted(map(str, known))
            if wanted is None and len(names) > 1:
                tested = f"{where}: run {full} was tested on {', '.join(names)}"
                raise UserError(f"{tested}: the table must say which {key}.")
            left = [number for number in left if wanted in (None, number[key])]
            if not left:
                hint = HINTS.get(str(wanted), "") if key == "checkpoint" else ""
                raise UserError(
                    f"{where}: run {full} has no metrics of {key} {wanted!r}.{near_miss(str(wanted), names)}{hint} "
                    f"Known: {', '.join(names)}."
                )
