"""Every method by name: what a recipe says under ``method``, and which settings such a recipe has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tellsign.errors import choose
from tellsign.registry import Record, Registry

if TYPE_CHECKING:
    from tellsign.detectors.recipes.base import Recipe

METHODS = Registry(
    "method",
    {
        "image": Record("tellsign.detectors.image", "ImageMethod"),
        "features": Record("tellsign.detectors.features", "FeatureMethod"),
    },
)
"""Classes that are a `tellsign.detectors.protocol.Method`."""

RECIPES = Registry(
    "method",
    {
        "image": Record("tellsign.detectors.recipes.image", "ImageRecipe"),
        "features": Record("tellsign.detectors.recipes.features", "FeatureRecipe"),
    },
)
"""Classes of recipes; a method that has none here takes the fields of ``image``."""


def recipe_class(method: str, where: str) -> type[Recipe]:
    """The class of a method's recipe.

    Raises:
        UserError: there is no such method; ``where`` names the place.
    """
    choose(METHODS, method, f"method of {where}")
    return RECIPES.load(method if method in RECIPES else "image")
