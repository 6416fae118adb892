"""What detectors share that are one network with one logit on crops of resized images.

A subclass says how its network is built. The network's tensors have the names of the published files, which therefore
load as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.data.pixels import PixelTable, augment
from tellsign.detectors.protocol import Phase, Sample
from tellsign.methods.losses import binary_cross_entropy
from tellsign.networks.backbones.backbone import Standardise
from tellsign.networks.determinism import placed, seeded
from tellsign.networks.inference import brought_back
from tellsign.networks.state import State, load_strictly, read_state
from tellsign.system.devices import sent
from tellsign.system.progress import progress
from tellsign.training.early_stopping import EarlyStop
from tellsign.training.fit import shuffled_batches
from tellsign.training.optimisers.build import build_optimiser
from tellsign.training.precision import arithmetic
from tellsign.training.schedules.warm_up import rate_by_epoch

# the registry of backbones has them too, but is no code: what is imported from it would not enter fingerprints
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVALUATED = 64
"""Images computed at once for validation."""


class CropMethod(ABC):
    """A network trained by binary cross-entropy on random crops, which scores centre crops.

    Args:
        model: Preprocessed images to one logit of fake each, on the device.
        settings: The recipe.
        crop: Side of the centre crops that are scored, in pixels.
        device: Where batches are computed.

    Attributes:
        mean, std: What the network sees of a channel is (pixel / 255 - mean) / std.
    """

    readers: ClassVar[Mapping[str, Callable[[Path], Any]]] = {"crops": PixelTable.open}
    mean: ClassVar[Sequence[float]] = IMAGENET_MEAN
    std: ClassVar[Sequence[float]] = IMAGENET_STD

    def __init__(self, model: nn.Module, settings: Mapping[str, Any], crop: int, device: torch.device) -> None:
        self.model, self.settings, self.crop, self.device = placed(model, device), settings, crop, device
        self.preprocess = self.front(settings).to(device)

    @staticmethod
    @abstractmethod
    def network(settings: Mapping[str, Any]) -> nn.Module:
        """The network of a recipe with its starting weights, which it draws from torch's global generator."""

    @classmethod
    def front(cls, settings: Mapping[str, Any]) -> nn.Module:
        """From pixels (RGB, 0 to 255) to what the network sees; nothing of it is trained or stored."""
        return Standardise(cls.mean, cls.std)

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `Method.begin`: random weights, or those of a published file."""
        method, weights = cls.restore(settings, {"crop": settings["crop"]}, device), settings["network"]["weights"]
        if weights != "none":
            state = cls.starting_state(read_state(Path(weights)), method.model.state_dict())
            load_strictly(method.model, state, f"the file {weights!r} for {settings['method']!r}")
        return method

    @classmethod
    def starting_state(cls, stored: State, own: State) -> State:
        """A network's state from what a file holds: the same, where files of this network are all that is taken.

        Args:
            stored: The file's tensors.
            own: Those that the network starts with.
        """
        return stored

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """See `Method.restore`; ``view`` holds ``crop``, the side of the centre crop."""
        with seeded(settings["seed"]):
            model = cls.network(settings)
        return cls(model, settings, view["crop"], device)

    def shape(self) -> dict[str, Any]:
        """See `Method.shape`."""
        return {}

    def phases(self, sample: Sample, validation: Sample | None, generator: torch.Generator) -> Iterator[Phase]:
        """See `Method.phases`: one phase, or none where the recipe has no epochs."""
        settings = self.settings
        if settings["epochs"] == 0:
            return
        table, rows = sample.inputs["crops"], sample.rows("crops")

        def loss(batch: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
            pixels = self.training_crops(table, rows[batch], generator)
            with arithmetic(settings["precision"], self.device):
                return self.loss(sent(pixels, self.device), sent(sample.labels[batch], self.device), generator)

        self.model.train()
        yield Phase(
            loss=loss,
            batches=lambda: shuffled_batches(len(rows), settings["batch_size"], generator),
            optimiser=build_optimiser(self.model.parameters(), settings["optimiser"]),
            epochs=settings["epochs"],
            rate=rate_by_epoch(settings),
            stop=self.early_stop(validation),
        )

    def training_crops(
        self, table: PixelTable, rows: Int64[Tensor, " b"], generator: torch.Generator
    ) -> UInt8[Tensor, "b 3 s s"]:
        """What one batch of training images is cut and turned to."""
        crops = table.random_crops(rows, self.settings["crop"], generator)
        return augment(crops, generator, flip=self.settings["flip"], rotate=False)

    def scored_crops(self, table: PixelTable, rows: Int64[Tensor, " b"]) -> UInt8[Tensor, "b 3 s s"]:
        """What is scored of one batch of images."""
        return table.center_crops(rows, self.crop)

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Binary cross-entropy of one batch of crops.

        Args:
            pixels: The crops.
            labels: 0 real or 1 fake.
            generator: Source of every draw that a loss makes.
        """
        return binary_cross_entropy(self.logits(self.preprocess(pixels)).float(), labels)

    def logits(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Logits of fake for preprocessed images: what the network gives, where it gives no more."""
        return self.model(x)

    def logits_of(self, table: PixelTable, rows: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Logits of fake of one batch of images, as they are scored."""
        return self.logits(self.preprocess(sent(self.scored_crops(table, rows), self.device)))

    def early_stop(self, validation: Sample | None) -> EarlyStop | None:
        """The early stopping of the recipe, if it has any, by the accuracy at 0.5 on centre crops."""
        if validation is None:
            return None

        def accuracy() -> float:
            self.model.eval()
            scores = self.scores(validation.inputs, validation.ids, EVALUATED)
            self.model.train()
            return float(((scores > 0.5) == (validation.labels == 1).numpy()).mean())

        return EarlyStop.of(self.settings["stop"], accuracy)

    @torch.no_grad()
    def scores(self, inputs: Mapping[str, Any], ids: Sequence[str], batch_size: int) -> Float[np.ndarray, " n"]:
        """See `Method.scores`: from each picture's centre crop."""
        table = inputs["crops"]
        batches = table.rows_of(ids).split(batch_size)
        told = progress(batches, len(batches), "batches scored")
        return torch.cat([*brought_back(self.logits_of(table, batch).sigmoid() for batch in told)]).numpy()
