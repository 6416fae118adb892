"""Published detectors by name, for whoever asks them about pictures: the recipes of config/papers/released.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tellsign.commands.configuration import CACHE
from tellsign.data.inventory import FileDigests
from tellsign.detectors.recipes.base import Pixels
from tellsign.errors import UserError, choose
from tellsign.networks.weights import open_catalogue, shopping_list
from tellsign.plan.networks import FindWeights, settings_of
from tellsign.plan.recipes import read_recipe
from tellsign.prediction.sources import Source, centre_crop
from tellsign.schema.strict_yaml import read_yaml
from tellsign.schema.weights import MissingWeightsError

RECIPES = Path("config/papers/released.yaml")


def released_sources(names: Sequence[str]) -> list[Source]:
    """What to predict with: published detectors.

    Raises:
        UserError: a name that is not known, a file that is not here (with the command that fetches it, or who gives
            it), or a detector that looks at more than pixels.
    """
    if not names:
        return []
    find = open_catalogue(Path(), FileDigests(CACHE)).find
    recipes = read_yaml(RECIPES)
    return [released_source(name, choose(recipes, name, f"detector of {RECIPES}"), find) for name in names]


def released_source(name: str, spec: dict[str, Any], find: FindWeights) -> Source:
    """What to predict with: the published detector of a recipe; see `released_sources`.

    Args:
        name: What its column is called.
        spec: The recipe, as its file writes it.
        find: Finds weights.
    """
    recipe = read_recipe({"data": {"split": "none"}, "epochs": 0, **spec}, f"{RECIPES}: {name}")
    settings: dict[str, Any] = recipe.training_settings() | {"seed": 0}
    for field, network in recipe.networks().items():
        try:
            resolved = find(network.weights, network.name)
        except MissingWeightsError as problem:
            raise UserError(shopping_list([problem], {network.weights: [f"--detector {name}"]})) from None
        settings[field] = settings_of(network.name, resolved, network.front)
    inputs = recipe.test_inputs()
    crops = inputs.get("crops")
    if set(inputs) != {"crops"} or not isinstance(crops, Pixels):
        raise UserError(f"{name} looks at {', '.join(inputs)}; `predict` gives pixels alone.")
    return Source(
        name,
        Path(settings["network"]["weights"]),
        recipe.view(),
        centre_crop(crops.side, crops.resize),
        released=settings,
    )
