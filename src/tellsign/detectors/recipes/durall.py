"""The recipe of Durall."""

from __future__ import annotations

from typing import ClassVar, Literal

from tellsign.detectors.recipes.base import Pixels, Recipe, Source
from tellsign.schema.fields import Positive
from tellsign.schema.training import Resize


class DurallRecipe(Recipe):
    """Everything that can change a number of one training of Durall; the defaults are its public code's for CelebA.

    Attributes:
        resize: Resizing of the training images; null for none.
        resize_test: Resizing of the test images; null for none. Without effect on the training.
        third: Look at the middle third of both sides alone, as for FaceForensics++.
        points: To how many points the profile is resampled, and divided by the first: 80, for FaceForensics++ 300. Null
            takes it as it is, as for Faces-HQ, where all images have one size.
        classifier: A support vector machine by its kernel (``svm-rbf``, ``svm-linear``, ``svm-poly`` of degree 3), or
            the logistic regression.
        c: Inverse of the penalty. The public code takes 6.37 with ``svm-rbf`` and 1 with all others.
        gamma: Factor of the kernels ``svm-rbf`` and ``svm-poly``: a number, ``auto`` (one over the number of points) or
            ``scale`` (that over the variance).
    """

    method: str = "durall"
    resize: Resize | None = None
    resize_test: Resize | None = None
    third: bool = False
    points: Positive[int] | None = 80
    classifier: Literal["svm-rbf", "svm-linear", "svm-poly", "logistic"] = "svm-rbf"
    c: Positive[float] = 6.37
    gamma: Positive[float] | Literal["auto", "scale"] = 0.86

    needs_gpu: ClassVar[bool] = False
    without_effect: ClassVar[frozenset[str]] = frozenset({"keep", "resize_test"})
    enter_by_inputs: ClassVar[frozenset[str]] = frozenset({"bias", "resize"})

    def inputs(self) -> dict[str, Source]:
        """Whole images."""
        return {"crops": Pixels(resize=self.resize)}

    def test_inputs(self) -> dict[str, Source]:
        """Whole images."""
        return {"crops": Pixels(resize=self.resize_test)}

    def epochs_kept(self) -> int:
        """See `Recipe.epochs_kept`."""
        return 1
