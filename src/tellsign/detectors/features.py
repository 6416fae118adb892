"""A head on cached embeddings of images and their texts (TIDY, Eq. 7 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from tellsign.data.features import Features
from tellsign.detectors.build import build_head
from tellsign.detectors.protocol import Phase, Sample
from tellsign.methods.losses import binary_cross_entropy
from tellsign.methods.representation import representation
from tellsign.training.fit import shuffled_batches
from tellsign.training.optimisers.build import build_optimiser
from tellsign.training.schedules.warm_up import rate_by_epoch


class FeatureMethod:
    """A head on TIDY's representation, trained by binary cross-entropy.

    Args:
        head: The head, on the device.
        settings: The recipe.
        dim: Length of the representation.
        device: Where it is computed.
    """

    readers: ClassVar[Mapping[str, Callable[[Path], Any]]] = {"features": Features.load}

    def __init__(self, head: nn.Module, settings: Mapping[str, Any], dim: int, device: torch.device) -> None:
        self.model, self.settings, self.dim, self.device = head, settings, dim, device

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `Method.begin`."""
        return cls.restore({**settings, "dim": sample.inputs["features"].image.shape[1]}, {}, device)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """See `Method.restore`."""
        head = build_head(settings["head"], settings["dim"], settings["seed"]).to(device)
        return cls(head, settings, settings["dim"], device)

    def shape(self) -> dict[str, Any]:
        """See `Method.shape`."""
        return {"dim": self.dim}

    def phases(self, sample: Sample, validation: Sample | None, generator: torch.Generator) -> Iterator[Phase]:
        """See `Method.phases`: one phase."""
        settings = self.settings
        inputs = representation(sample.inputs["features"], settings["discrepancy"])[sample.rows("features")]
        inputs, labels = inputs.to(self.device), sample.labels.to(self.device)
        self.model.train()
        yield Phase(
            loss=lambda batch: binary_cross_entropy(self.model(inputs[batch]), labels[batch]),
            batches=lambda: shuffled_batches(len(sample.labels), settings["batch_size"], generator),
            optimiser=build_optimiser(self.model.parameters(), settings["optimiser"]),
            epochs=settings["epochs"],
            rate=rate_by_epoch(settings),
        )

    @torch.inference_mode()
    def scores(self, inputs: Mapping[str, Any], ids: Sequence[str], batch_size: int) -> Float[np.ndarray, " n"]:
        """See `Method.scores`; all at once, since a product of matrices may round differently at another size."""
        features = inputs["features"]
        values = representation(features, self.settings["discrepancy"]).to(self.device)
        return self.model(values).sigmoid().cpu().numpy()[features.rows_of(ids).numpy()]
