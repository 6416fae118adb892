"""What detectors share whose network is an ImageNet classifier with layers of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from tellsign.detectors.on_crops import CropMethod
from tellsign.detectors.protocol import Sample
from tellsign.errors import UserError
from tellsign.networks.state import State, read_state

CLASSIFIER = "fc."
"""Prefix of the last layer's tensors in files of torchvision's and timm's ResNets."""


def is_imagenet(state: State, classifier: str = CLASSIFIER) -> bool:
    """Whether a state is that of a network for ImageNet's 1,000 classes.

    Args:
        state: Its tensors.
        classifier: Prefix of its last layer's.
    """
    return f"{classifier}weight" in state and len(state[f"{classifier}weight"]) == 1000


class FromImageNet(CropMethod):
    """A detector whose ``weights`` may be those of its network for ImageNet; only its own layers then start anew.

    Attributes:
        classifier: Prefix of the last layer's tensors in the file for ImageNet.
        own: Prefixes of the tensors that ImageNet's network lacks or has for other classes.
    """

    classifier: ClassVar[str] = CLASSIFIER
    own: ClassVar[tuple[str, ...]] = (CLASSIFIER,)

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `CropMethod.begin`.

        Raises:
            UserError: ImageNet's weights are to be scored without a training.
        """
        weights = settings["network"]["weights"]
        if settings["epochs"] == 0 and is_imagenet(read_state(Path(weights)), cls.classifier):
            raise UserError(
                f"{weights!r} holds ImageNet's classes, not a published {settings['method']}; with epochs: 0 its last "
                "layers would be random. Train it: give epochs, or the weights of a published checkpoint."
            )
        return super().begin(settings, sample, start, device)

    @classmethod
    def starting_state(cls, stored: State, own: State) -> State:
        """See `CropMethod.starting_state`; of ImageNet's network all but the last layer is taken."""
        if not is_imagenet(stored, cls.classifier):
            return stored
        new = {name: value for name, value in own.items() if name.startswith(cls.own)}
        return new | {name: value for name, value in stored.items() if not name.startswith(cls.classifier)}
