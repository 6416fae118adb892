"""What recipes share whose detectors may also score whole images (`tellsign.detectors.whole_images`)."""

from __future__ import annotations

from typing import Any, ClassVar

from tellsign.detectors.recipes.base import Pixels, Source
from tellsign.detectors.recipes.on_crops import CropRecipe
from tellsign.schema.training import Resize


class WholeImageRecipe(CropRecipe):
    """The fields of a detector on images that are not resized.

    Attributes:
        whole: Score whole images; otherwise centre crops of side ``crop_test``. Without effect on the training.
    """

    resize: Resize | None = None
    resize_test: Resize | None = None
    whole: bool = False

    without_effect: ClassVar[frozenset[str]] = CropRecipe.without_effect | {"whole"}

    def test_inputs(self) -> dict[str, Source]:
        """Whole images, or centre crops."""
        return {"crops": Pixels(None, self.resize_test)} if self.whole else super().test_inputs()

    def view(self) -> dict[str, Any]:
        """The side of the centre crops, and whether whole images are scored instead."""
        return super().view() | {"whole": self.whole}
