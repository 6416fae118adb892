"""What recipes whose detectors look at crops of whole images have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tellsign.detectors.recipes.base import Pixels, Source

if TYPE_CHECKING:
    from tellsign.schema.training import EarlyStopping, Resize


class LooksAtCrops:
    """Inputs of a recipe with the fields ``crop``, ``crop_test``, ``resize``, ``resize_test`` and ``stop``."""

    if TYPE_CHECKING:  # fields of the recipe, which is a pydantic model
        crop: int
        crop_test: Any  # None stands for `crop` where a recipe allows it
        resize: Resize | None
        resize_test: Resize | None
        stop: EarlyStopping | None

    def inputs(self) -> dict[str, Source]:
        """Whole images, which crops are cut out of anew in each epoch."""
        return {"crops": Pixels(resize=self.resize)}

    def validation_inputs(self) -> dict[str, Source]:
        """Centre crops, resized like the training images."""
        return {"crops": Pixels(self.crop, self.resize)}

    def test_inputs(self) -> dict[str, Source]:
        """Centre crops."""
        return {"crops": Pixels(self.view()["crop"], self.resize_test)}

    def view(self) -> dict[str, Any]:
        """The side of the centre crops."""
        return {"crop": self.crop_test or self.crop}

    def validation(self) -> EarlyStopping | None:
        """See `Recipe.validation`."""
        return self.stop
