"""Runs: recipes with the seeds and test sets that they are wanted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tellsign.detectors.recipes.base import Recipe, Start
from tellsign.detectors.registry import recipe_class
from tellsign.plan.artifact import digest
from tellsign.schema.loading import build


@dataclass(frozen=True)
class Run:
    """A recipe of a paper with the seeds and test sets it is wanted for."""

    paper: str
    name: str
    recipe: Recipe = field(hash=False)
    seeds: tuple[int, ...]
    tests: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """``paper/name``."""
        return f"{self.paper}/{self.name}"

    @property
    def place(self) -> str:
        """How messages call it."""
        return f"{self.paper}: run {self.name}"


def read_recipe(spec: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from plain data.

    Raises:
        UserError: anything in it that cannot be right.
    """
    return build(recipe_class(str(spec.get("method", "image")), where), spec, where)


def training_key(run: Run) -> str:
    """Equal for runs that are one training, whatever they keep of it. Names of sections mean something in a paper."""
    named = run.recipe.annotations() or run.recipe.origin() != Start()
    return digest([run.recipe.identity(), run.paper if named else ""])
