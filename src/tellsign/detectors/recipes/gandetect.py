"""The recipe of GANDetect."""

from __future__ import annotations

from tellsign.detectors.recipes.whole_images import WholeImageRecipe
from tellsign.schema.fields import NonNegative, Positive
from tellsign.schema.training import OPTIMISER_SETTINGS, Optimiser, Precision


class GanDetectRecipe(WholeImageRecipe):
    """Everything that can change a number of one training of GANDetect, whose own training was not released.

    Attributes:
        weights: As every detector's, or those of ImageNet's ResNet-50, whose last layer then starts anew.
        whole: Score whole images, as the public code: in tiles where both sides exceed 1,536 pixels. Otherwise centre
            crops of side ``crop_test``. Without effect on the training.
    """

    method: str = "gandetect"
    weights: str = "resnet50"
    whole: bool = True
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=1e-4)
    epochs: NonNegative[int] = 20
    batch_size: Positive[int] = 64
    precision: Precision = "fp32"
