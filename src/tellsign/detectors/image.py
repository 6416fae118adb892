"""A backbone and a head on crops of images: MPFT, LoL, rescale's fine-tuning, and baselines that differ in settings.

The head `nearest` (UniFD's second detector) trains nothing: it stores the features of the training images' centre
crops.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tellsign.data.pixels import PixelTable
from tellsign.detectors.build import build_detector, load_encoder, shaped_detector
from tellsign.detectors.checkpoints import load_weights
from tellsign.detectors.protocol import Phase, Sample
from tellsign.detectors.training_crops import Batch, TrainingCrops, near
from tellsign.methods.losses import binary_cross_entropy
from tellsign.methods.masks import MASKS
from tellsign.networks.detector import Detector
from tellsign.networks.determinism import placed
from tellsign.networks.heads.bank import Bank
from tellsign.networks.inference import features_of, score_images
from tellsign.system.devices import sent
from tellsign.training.early_stopping import EarlyStop
from tellsign.training.optimisers.build import build_optimiser
from tellsign.training.precision import arithmetic
from tellsign.training.schedules.warm_up import rate_by_epoch

EVALUATED = 64
"""Images computed at once for validation and for the bank of the nearest neighbour."""


def starting_detector(settings: Mapping[str, Any], start: Path | None) -> Detector:
    """The detector that training starts from."""
    detector = build_detector(settings)
    if settings["start"] == "pretrain" and start is not None:
        encoder = load_encoder(start, torch.device("cpu"))
        detector.backbone.load_state_dict(encoder.state_dict())
    elif settings["start"] == "run" and start is not None:
        load_weights(detector, start / "model.safetensors")
    return detector


def set_batch_norm(detector: Detector, batch_norm: str) -> None:
    """Put the detector into training mode; ``frozen`` BatchNorm layers keep their running statistics."""
    detector.train()
    if batch_norm == "frozen":
        for module in detector.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def accuracy_of(detector: Detector, sample: Sample, size: int, batch_norm: str) -> float:
    """Share of images called rightly at 0.5, from their centre crops; the detector is in training mode after it."""
    detector.eval()
    scores = torch.from_numpy(score_images(detector, sample.inputs["crops"], sample.rows("crops"), size, EVALUATED))
    set_batch_norm(detector, batch_norm)
    return float(((scores > 0.5) == (sample.labels == 1)).double().mean())


class ImageMethod:
    """A backbone and a head on crops, trained by binary cross-entropy, masked or not.

    Args:
        detector: Backbone and head, on the device.
        settings: The recipe.
        crop: Side of the centre crops that are scored, in pixels.
        device: Where batches are computed.
    """

    readers: ClassVar[Mapping[str, Callable[[Path], Any]]] = {"crops": PixelTable.open}

    def __init__(self, detector: Detector, settings: Mapping[str, Any], crop: int, device: torch.device) -> None:
        self.model, self.settings, self.crop, self.device = detector, settings, crop, device

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `Method.begin`."""
        return cls(placed(starting_detector(settings, start), device), settings, settings["crop"], device)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """See `Method.restore`; ``view`` holds ``crop``, the side of the centre crop."""
        return cls(placed(shaped_detector(settings), device), settings, view["crop"], device)

    def shape(self) -> dict[str, Any]:
        """See `Method.shape`: a bank's length is its checkpoint's."""
        return {}

    def phases(self, sample: Sample, validation: Sample | None, generator: torch.Generator) -> Iterator[Phase]:
        """See `Method.phases`: one phase; for the head ``nearest`` none.

        Source: the bank of features is UniFD's (Ojha et al. 2023, §4.2); centre crops, as its tests.
        """
        detector, settings = self.model, self.settings
        table, rows = sample.inputs["crops"], sample.rows("crops")
        if isinstance(detector.head, Bank):
            detector.eval()
            features = features_of(detector.backbone, table, rows, settings["crop"], EVALUATED)
            detector.head.store(features, sample.labels)
            return
        set_batch_norm(detector, settings["batch_norm"])
        crops = TrainingCrops(near(table, settings, self.device), rows, settings, generator, self.device)
        options = dict(settings["mask"])
        mask = functools.partial(MASKS.load(options.pop("name")), generator=generator, **options)
        yield Phase(
            loss=lambda batch: self.loss(crops, batch, sample.labels, mask),
            batches=crops.batches,
            optimiser=build_optimiser(detector.parameters(), settings["optimiser"]),
            epochs=settings["epochs"],
            rate=rate_by_epoch(settings),
            stop=self.early_stop(validation),
        )

    def loss(
        self, crops: TrainingCrops, batch: Batch, labels: Int64[Tensor, " n"], mask: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, ""]:
        """Binary cross-entropy of one batch, its preprocessed crops times the mask of them."""
        x = self.model.backbone.preprocess(crops.pixels(batch))
        x = x * mask(x)
        with arithmetic(self.settings["precision"], self.device):
            logits = self.model(x)
        return binary_cross_entropy(logits.float(), sent(labels[batch.positions], self.device))

    def early_stop(self, validation: Sample | None) -> EarlyStop | None:
        """The early stopping of the recipe, if it has any."""
        if validation is None:
            return None
        size, batch_norm = self.settings["crop"], self.settings["batch_norm"]
        accuracy = functools.partial(accuracy_of, self.model, validation, size, batch_norm)
        return EarlyStop.of(self.settings["stop"], accuracy)

    def scores(self, inputs: Mapping[str, Any], ids: Sequence[str], batch_size: int) -> Float[np.ndarray, " n"]:
        """See `Method.scores`: from each picture's centre crop."""
        table = inputs["crops"]
        return score_images(self.model, table, table.rows_of(ids), self.crop, batch_size)
