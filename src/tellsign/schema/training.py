"""What a configuration may say of a training: everything that can change a number of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import model_validator

from tellsign.data.augmentations import AUGMENTATIONS
from tellsign.methods.masks import MASKS
from tellsign.schema.data import Perturbation
from tellsign.schema.fields import Fraction, NonNegative, Pair, Positive, Several
from tellsign.schema.networks import Encoder
from tellsign.schema.settings import ByName, Settings
from tellsign.training.optimisers import OPTIMISERS
from tellsign.training.schedules import SCHEDULES

AUGMENT_SETTINGS, MASK_SETTINGS = AUGMENTATIONS.settings(), MASKS.settings()
OPTIMISER_SETTINGS, SCHEDULE_SETTINGS = OPTIMISERS.settings(), SCHEDULES.settings()

if TYPE_CHECKING:
    from tellsign.data.augmentations.none import NoAugment as Augment
    from tellsign.methods.masks.none import NoMask as Mask
    from tellsign.training.optimisers.adam import AdamSettings as Optimiser
    from tellsign.training.schedules.step import StepSchedule as Schedule
else:
    Augment = Annotated[Settings, ByName(AUGMENTATIONS.kind, AUGMENT_SETTINGS)]
    Mask = Annotated[Settings, ByName(MASKS.kind, MASK_SETTINGS)]
    Optimiser = Annotated[Settings, ByName(OPTIMISERS.kind, OPTIMISER_SETTINGS, default="adam")]
    Schedule = Annotated[Settings, ByName(SCHEDULES.kind, SCHEDULE_SETTINGS, key="kind", default="step")]

Precision = Literal["auto", "fp32", "bf16"]
"""The arithmetic of a training: bf16 autocast, fp32, or auto: bf16 on CUDA and fp32 on a CPU."""


class Resize(Settings):
    """Images are resized before anything is cut out of them.

    Attributes:
        mode: ``squash`` to a square of ``size`` (NPR), or ``shorter``: the shorter side becomes ``size`` and the
            longer one follows, rounded down (CNNDet and UniFD while training).
        size: In pixels.
        filter: Pillow's, which widens with the ratio when an image gets smaller, as in torchvision's pipelines; or
            ``opencv``, OpenCV's bilinear one, which does not.
    """

    mode: Literal["squash", "shorter"]
    size: Positive[int]
    filter: Literal["bilinear", "bicubic", "lanczos", "opencv"] = "bilinear"


class EarlyStopping(Settings):
    """Early stopping as in CNNDet (Wang et al. 2020), by the accuracy at 0.5 on a validation split.

    The best epoch's weights are kept. The paper drops the rate tenfold when five epochs did not raise the accuracy by
    0.1 %, and ends at 1e-6. Its code demands no rise but a fall of less than 0.1 %: ``delta: -0.001``.

    Attributes:
        split: Name of the validation split; its images are resized like the training images and centre-cropped.
        subsets: Subsets of it; empty means all.
        count: Images per subset, half real and half fake; ``all`` takes the whole split.
        patience: After so many epochs without progress the learning rate is multiplied by ``factor``.
        factor: See there.
        min_lr: Training ends when the rate would fall below.
        delta: Progress is an accuracy of at least the best one plus ``delta``.
    """

    split: str = "val"
    subsets: Several[str] = ()
    count: Positive[int] | Literal["all"] = "all"
    patience: Positive[int] = 5
    factor: Fraction = 0.1
    min_lr: Positive[float] = 1e-6
    delta: float = 0.001


class Data(Settings):
    """What a run is trained on.

    Attributes:
        split: Name of a split of part ``train``.
        subsets: Subsets of it; empty means all.
        count: Images per subset, half real and half fake (nested); ``all`` takes the whole split.
        perturbation: Applied once to the training images.
    """

    split: str = "train"
    subsets: Several[str] = ()
    count: Positive[int] | Literal["all"] = "all"
    perturbation: Perturbation = Perturbation()


class WarmUp(Settings):
    """The first steps of a pre-training, which lead it off the plateau where all features are alike.

    Attributes:
        steps: How many of the training's steps.
        ratio_weight: Weight of a second loss beside the paper's, the cross-entropy of a linear classifier of the ratio
            on the encoder's features, discarded after; 0 keeps to the paper's loss.
        ratios: Scale ratios of these steps; null takes the recipe's.
        n_ratios, n_phases, n_images, n_patches: How a batch is made up. With one phase a ratio, the classes are the
            ratios.
        temperature: Of the contrastive loss; null takes the recipe's.
    """

    steps: Positive[int] = 3000
    ratio_weight: NonNegative[float] = 1.0
    ratios: Several[str] | None = None
    n_ratios: Positive[int] = 6
    n_phases: Positive[int] = 1
    n_images: Positive[int] = 8
    n_patches: Positive[int] = 1
    temperature: Positive[float] | None = None


class Pretrain(Settings):
    """Rescaling-contrastive pre-training (rescale §4.2).

    Attributes:
        split: Split of real photographs.
        backbone: Encoder.
        ratios: Scale ratios as ``numerator/denominator``, in (1, 2).
        n_ratios, n_phases, n_images, n_patches: A batch holds this many ratios, phases a ratio, images, and
            patches of each image at each ratio and phase; all processes together work on one batch.
        patch: Side of a patch.
        quantise: Round rescaled pixels to integers.
        temperature: Of the supervised contrastive loss (Eq. 4).
        reduction: Of that loss: ``sum`` over anchors, as Eq. 4 prints it, or ``mean``.
        normalise: Project features on the unit sphere before the loss.
        projection: Hidden and output width of the projection head, discarded after.
        steps: Batches an epoch; null takes one batch for every ``n_images`` photographs.
        decode: ``packed`` (all photographs decoded once into one file) or ``on_the_fly`` (their files are read during
            training; for sets too large to unpack). It changes no number.
        too_small: Photographs with a side too short for the patches are an error (``fail``) or left out (``drop``).
        warm_up: How the first steps differ; null: in nothing, as the paper has it.
        measure_every: Steps between two lines of the log that say whether the encoder learns.
        held_out: Photographs that are kept out of the training to measure what the encoder retrieves; 0 trains on all.
        collapse_after: The training has collapsed when it was at chance for so many steps.
        on_collapse: Whether it then stops with an error (``stop``), or says so and goes on (``warn``).
        batch_norm_parts: Into how many equal parts BatchNorm divides the batch for its statistics. 1 takes the whole
            batch, however many processes share it; N takes what N processes see that do not share their statistics,
            and needs N processes.
    """

    backbone: Encoder
    split: str = "photos"
    ratios: Several[str] = ("16/9", "8/5", "16/11", "4/3", "16/13", "8/7")
    n_ratios: Positive[int] = 4
    n_phases: Positive[int] = 4
    n_images: Positive[int] = 2
    n_patches: Positive[int] = 2
    patch: Positive[int] = 128
    quantise: bool = True
    temperature: Positive[float] = 0.07
    reduction: Literal["sum", "mean"] = "sum"
    normalise: bool = True
    projection: Pair[Positive[int]] = (2048, 128)
    optimiser: Optimiser = OPTIMISER_SETTINGS["adam"](lr=2e-4, weight_decay=2e-4)
    schedule: Schedule = SCHEDULE_SETTINGS["step"]()
    epochs: Positive[int] = 200
    steps: Positive[int] | None = None
    decode: Literal["packed", "on_the_fly"] = "packed"
    too_small: Literal["fail", "drop"] = "fail"
    warm_up: WarmUp | None = WarmUp()
    measure_every: Positive[int] = 250
    held_out: NonNegative[int] = 32
    collapse_after: Positive[int] = 2000
    on_collapse: Literal["stop", "warn"] = "stop"
    batch_norm_parts: Positive[int] = 1
    seed: int = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.held_out == 1:
            raise ValueError("held_out is 1; retrieval looks among other photographs: hold out 2 or more, or 0.")
        if self.n_ratios > len(self.ratios):
            raise ValueError(f"n_ratios is {self.n_ratios}, but there are {len(self.ratios)} ratios.")
        if self.warm_up is not None and self.warm_up.n_ratios > len(self.warm_up.ratios or self.ratios):
            raise ValueError(
                f"warm_up.n_ratios is {self.warm_up.n_ratios}, but there are "
                f"{len(self.warm_up.ratios or self.ratios)} ratios."
            )
        if self.warm_up is not None and self.steps is not None and self.warm_up.steps > self.epochs * self.steps:
            raise ValueError(
                f"warm_up.steps is {self.warm_up.steps}, but there are {self.epochs} epochs of {self.steps} steps; "
                "lower it, raise those, or write warm_up: null."
            )
        return self
