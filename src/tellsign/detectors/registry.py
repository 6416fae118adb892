"""Every method by name: what a recipe says under ``method``, and which settings such a recipe has.

How to add a detector, here one called ``spectrum``:

1. One file, ``detectors/spectrum.py``, with a class that is a `tellsign.detectors.protocol.Method`.
2. One line in ``METHODS``. Paper files may then say ``method: spectrum``, with the fields of the recipe ``image``.
3. Where it has fields or inputs of its own, a second file, ``detectors/recipes/spectrum.py``, with a subclass of
   `tellsign.detectors.recipes.base.Recipe` or of another recipe, and a line in ``RECIPES``. The plan imports it, so it
   must do without torch.

The plan, the stages, the rules and the doctor ask the two classes; none of them is touched. The code of the first file,
with all that it imports, enters the fingerprints of its own trainings and scores and of no others. What only the plan
asks, in the second file, enters through what it answers.
"""

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
        "released": Record("tellsign.detectors.released", "ReleasedMethod"),
        "rine": Record("tellsign.detectors.rine", "RineMethod"),
        "c2pclip": Record("tellsign.detectors.c2pclip", "C2pClipMethod"),
        "effort": Record("tellsign.detectors.effort", "EffortMethod"),
        "drct": Record("tellsign.detectors.drct", "DrctMethod"),
        "fatformer": Record("tellsign.detectors.fatformer", "FatFormerMethod"),
        "forgelens": Record("tellsign.detectors.forgelens", "ForgeLensMethod"),
        "freqnet": Record("tellsign.detectors.freqnet", "FreqNetMethod"),
        "gramnet": Record("tellsign.detectors.gramnet", "GramNetMethod"),
        "f3net": Record("tellsign.detectors.f3net", "F3NetMethod"),
        "patchfor": Record("tellsign.detectors.patchfor", "PatchforMethod"),
        "durall": Record("tellsign.detectors.durall", "DurallMethod"),
        "lgrad": Record("tellsign.detectors.lgrad", "LGradMethod"),
        "safe": Record("tellsign.detectors.safe", "SafeMethod"),
        "aide": Record("tellsign.detectors.aide", "AideMethod"),
        "gandetect": Record("tellsign.detectors.gandetect", "GanDetectMethod"),
        "deit-s": Record("tellsign.detectors.deit", "DeitMethod"),
        "frank": Record("tellsign.detectors.frank", "FrankMethod"),
        "fredect": Record("tellsign.detectors.frank", "FreDectMethod"),
        "spec": Record("tellsign.detectors.spec", "SpecMethod"),
        "ladeda": Record("tellsign.detectors.ladeda", "LadedaMethod"),
        "tiny-ladeda": Record("tellsign.detectors.ladeda", "TinyLadedaMethod"),
    },
)
"""Classes that are a `tellsign.detectors.protocol.Method`."""

RECIPES = Registry(
    "method",
    {
        "image": Record("tellsign.detectors.recipes.image", "ImageRecipe"),
        "features": Record("tellsign.detectors.recipes.features", "FeatureRecipe"),
        "released": Record("tellsign.detectors.recipes.released", "ReleasedRecipe"),
        "rine": Record("tellsign.detectors.recipes.rine", "RineRecipe"),
        "c2pclip": Record("tellsign.detectors.recipes.c2pclip", "C2pClipRecipe"),
        "effort": Record("tellsign.detectors.recipes.effort", "EffortRecipe"),
        "drct": Record("tellsign.detectors.recipes.drct", "DrctRecipe"),
        "fatformer": Record("tellsign.detectors.recipes.fatformer", "FatFormerRecipe"),
        "forgelens": Record("tellsign.detectors.recipes.forgelens", "ForgeLensRecipe"),
        "freqnet": Record("tellsign.detectors.recipes.freqnet", "FreqNetRecipe"),
        "gramnet": Record("tellsign.detectors.recipes.gramnet", "GramNetRecipe"),
        "f3net": Record("tellsign.detectors.recipes.f3net", "F3NetRecipe"),
        "patchfor": Record("tellsign.detectors.recipes.patchfor", "PatchforRecipe"),
        "durall": Record("tellsign.detectors.recipes.durall", "DurallRecipe"),
        "lgrad": Record("tellsign.detectors.recipes.lgrad", "LGradRecipe"),
        "safe": Record("tellsign.detectors.recipes.safe", "SafeRecipe"),
        "aide": Record("tellsign.detectors.recipes.aide", "AideRecipe"),
        "gandetect": Record("tellsign.detectors.recipes.gandetect", "GanDetectRecipe"),
        "deit-s": Record("tellsign.detectors.recipes.deit", "DeitRecipe"),
        "frank": Record("tellsign.detectors.recipes.frank", "FrankRecipe"),
        "fredect": Record("tellsign.detectors.recipes.frank", "FreDectRecipe"),
        "spec": Record("tellsign.detectors.recipes.spec", "SpecRecipe"),
        "ladeda": Record("tellsign.detectors.recipes.ladeda", "LadedaRecipe"),
        "tiny-ladeda": Record("tellsign.detectors.recipes.ladeda", "TinyLadedaRecipe"),
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
