"""What the plan knows of recipes: their kinds, what is wrong in them alone, where they start, what they see.

Whatever depends on the kind of a recipe, and needs no artifact, is a function of this module; what makes artifacts of
a recipe is in `tellsign.plan.training`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tellsign.errors import UserError, choose
from tellsign.plan.artifact import digest
from tellsign.schema.loading import build, plain
from tellsign.schema.training import FeatureRecipe, Recipe

RECIPES: dict[str, type[Recipe] | type[FeatureRecipe]] = {"image": Recipe, "features": FeatureRecipe}
"""Kinds of recipes by what ``method`` says."""


@dataclass(frozen=True)
class Run:
    """A recipe of a paper with the seeds and test sets it is wanted for."""

    paper: str
    name: str
    recipe: Recipe | FeatureRecipe = field(hash=False)
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


class Start(NamedTuple):
    """Where weights come from instead of the backbone's own: ``pretrain:NAME`` or ``run:NAME``; empty for nowhere."""

    kind: str = ""
    name: str = ""


def read_recipe(spec: Mapping[str, Any], where: str) -> Recipe | FeatureRecipe:
    """A recipe from plain data, checked.

    Raises:
        UserError: anything in it that cannot be right.
    """
    kind = choose(RECIPES, spec.get("method", "image"), f"method of {where}")
    recipe = build(kind, spec, where)
    check_together(recipe, where)
    return recipe


def check_together(recipe: Recipe | FeatureRecipe, where: str) -> None:
    """Refuse settings that are right alone and wrong together.

    Raises:
        UserError: says which, and what to write instead.
    """
    nearest = recipe.head.name == "nearest"
    if isinstance(recipe, FeatureRecipe):
        if nearest:
            raise UserError(f"{where}: the head 'nearest' stores image features; for method: features take another.")
        return
    if nearest and (recipe.epochs != 0 or recipe.trainable != "head" or recipe.stop is not None):
        raise UserError(f"{where}: the head 'nearest' trains nothing; write epochs: 0, trainable: head, no stop.")
    if nearest and recipe.head.k % 2 == 0:
        raise UserError(f"{where}: head.k is {recipe.head.k}; it must be odd, so that one class is in the majority.")
    if not nearest and recipe.epochs == 0:
        raise UserError(f"{where}: 0 epochs train nothing; only the head 'nearest' goes without.")
    if recipe.stop is not None and (recipe.keep != 1 or recipe.shots is not None):
        raise UserError(f"{where}: early stopping keeps the best epoch alone; write keep: 1 and no shots, or no stop.")
    if recipe.schedule.warmup > recipe.epochs:
        raise UserError(f"{where}: schedule.warmup is {recipe.schedule.warmup} of {recipe.epochs} epochs.")
    if recipe.backbone.name == "npr" and (recipe.crop % 2 or (recipe.crop_test or 0) % 2):
        raise UserError(f"{where}: NPR looks at cells of 2 × 2 pixels; crop and crop_test must be even.")


def start_of(recipe: Recipe | FeatureRecipe) -> Start:
    """Where a recipe's weights come from; whatever stands before the colon is its kind, right or wrong."""
    if isinstance(recipe, FeatureRecipe) or recipe.start is None:
        return Start()
    kind, _, name = recipe.start.partition(":")
    return Start(kind, name)


def annotations_of(recipe: Recipe | FeatureRecipe) -> str | None:
    """The ``annotate`` section whose features it is trained on; None for a recipe on images."""
    return recipe.annotate if isinstance(recipe, FeatureRecipe) else None


def validation_split_of(recipe: Recipe | FeatureRecipe) -> str | None:
    """The split that early stopping looks at, if it stops early."""
    return recipe.stop.split if isinstance(recipe, Recipe) and recipe.stop is not None else None


def has_a_model_a_subset(recipe: Recipe | FeatureRecipe) -> bool:
    """Whether each subset is scored by a model of its own (few-shot)."""
    return isinstance(recipe, Recipe) and recipe.shots is not None


def weights_of(recipe: Recipe | FeatureRecipe) -> str | None:
    """What its backbone starts from, as ``weights:`` says; None where it starts from something that is made here."""
    return recipe.backbone.weights if isinstance(recipe, Recipe) and recipe.start is None else None


def training_key(run: Run) -> str:
    """Equal for runs that are one training, whatever they keep of it. Names of sections mean something in a paper."""
    own = annotations_of(run.recipe) is not None or start_of(run.recipe) != Start()
    return digest([plain(run.recipe) | {"keep": 0, "resize_test": None, "crop_test": None}, run.paper if own else ""])
