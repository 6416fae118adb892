"""What detectors share that are a network around a CLIP's image tower."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.data.canvases import on_black, on_tiles
from tellsign.data.pixels import PixelTable
from tellsign.detectors.on_crops import CropMethod
from tellsign.detectors.protocol import Phase, Sample
from tellsign.detectors.training_crops import Batch, TrainingCrops, near
from tellsign.errors import UserError
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.determinism import drawn_from, seeded
from tellsign.networks.state import State, load_strictly, read_state
from tellsign.system.devices import sent
from tellsign.training.optimisers.build import build_optimiser
from tellsign.training.precision import arithmetic
from tellsign.training.schedules.warm_up import rate_by_epoch


def tower_of(settings: Mapping[str, Any]) -> Backbone:
    """The image tower of a recipe's ``backbone``, with its weights.

    Raises:
        UserError: it needs crops of another size, or its weights are missing or do not fit.
    """
    network = settings["backbone"]
    tower = load_backbone(network["name"], network["weights"], settings["seed"], network.get("front"))
    return checked_size(tower, settings)


def checked_size(tower: Backbone, settings: Mapping[str, Any]) -> Backbone:
    """An image tower that takes a recipe's crops.

    Raises:
        UserError: it needs crops of another size.
    """
    network = settings["backbone"]
    if tower.size not in (None, settings["crop"]):
        raise UserError(f"{network['name']} needs crops of {tower.size} pixels, not {settings['crop']}; set crop so.")
    return tower


def transformer_blocks(net: nn.Module) -> Sequence[nn.Module]:
    """The blocks of a CLIP's vision transformer, open_clip's or the demo's, first to last.

    Raises:
        UserError: it has none.
    """
    for name in ("transformer.resblocks", "blocks"):
        try:
            return list(net.get_submodule(name).children())
        except AttributeError:
            continue
    raise UserError("this detector needs a CLIP with a vision transformer, such as clip-vit-l14 or clip-vit-b16.")


class ClipNetwork(nn.Module):
    """A network whose input is a `Backbone`'s.

    Attributes:
        front: Pixels to input; without trainable parts and stored tensors.
    """

    front: nn.Module


class ClipMethod(CropMethod):
    """A network around a CLIP's image tower, trained on augmented random crops; scores come from centre crops.

    Args:
        model: Preprocessed images to one logit of fake each.
        settings: The recipe.
        view: ``crop``, ``smaller`` and ``canvas`` of a recipe's tests.
        device: Where batches are computed.

    Attributes:
        unused: Names of published tensors that no score depends on.
        down: Centre crops begin at half the slack rounded down.
    """

    unused: ClassVar[re.Pattern[str]] = re.compile(r"(?!)")
    down: ClassVar[bool] = False

    def __init__(
        self, model: ClipNetwork, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device
    ) -> None:
        super().__init__(model, settings, view["crop"], device)
        self.preprocess, self.view = model.front.to(device), view

    @staticmethod
    @abstractmethod
    def network(settings: Mapping[str, Any]) -> ClipNetwork:
        """See `CropMethod.network`; the tower has the weights of the recipe's ``backbone``."""

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `Method.begin`: a CLIP's weights and random ones, or those of a published file."""
        weights = settings["network"]["weights"]
        with seeded(settings["seed"]):
            model = cls.network(settings)
        if weights != "none":
            stored = cls.published(read_state(Path(weights)))
            stored |= cls.added(model.state_dict(), stored)
            load_strictly(model, stored, f"the file {weights!r} for {settings['method']!r}")
        return cls(model, settings, {"crop": settings["crop"], "smaller": "tile", "canvas": None}, device)

    @classmethod
    def published(cls, state: State) -> dict[str, Tensor]:
        """The tensors of a published file under the network's names, without those that it has no use for."""
        return {name: value for name, value in state.items() if not cls.unused.fullmatch(name)}

    @classmethod
    def added(cls, own: State, stored: State) -> dict[str, Tensor]:
        """Tensors that no published file holds, with the network's own values.

        Args:
            own: The network's tensors, those of the tower with the weights of the recipe's ``backbone``.
            stored: What `published` gave.
        """
        return {}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """See `Method.restore`; ``view`` is a recipe's."""
        weightless = {**settings, "backbone": settings["backbone"] | {"weights": "none"}}  # the checkpoint has them
        with seeded(settings["seed"]):
            return cls(cls.network(weightless), settings, view, device)

    def phases(self, sample: Sample, validation: Sample | None, generator: torch.Generator) -> Iterator[Phase]:
        """See `Method.phases`: one phase, or none where the recipe has no epochs; frozen parameters stay."""
        if self.settings["epochs"]:
            yield self.phase(sample, validation, generator, self.settings, self.loss)

    def phase(
        self,
        sample: Sample,
        validation: Sample | None,
        generator: torch.Generator,
        settings: Mapping[str, Any],
        loss: Callable[[UInt8[Tensor, "b 3 s s"], Int64[Tensor, " b"], torch.Generator], Float[Tensor, ""]],
    ) -> Phase:
        """A phase that trains what is not frozen.

        Args:
            sample, validation, generator: See `Method.phases`.
            settings: The recipe, or what of it holds for this phase.
            loss: As `CropMethod.loss`.
        """
        table = near(sample.inputs["crops"], settings, self.device)
        crops = TrainingCrops(table, sample.rows("crops"), settings, generator, self.device)

        def loss_of(batch: Batch) -> Float[Tensor, ""]:
            pixels, labels = crops.pixels(batch), sent(sample.labels[batch.positions], self.device)
            with drawn_from(generator), arithmetic(settings["precision"], self.device):
                return loss(pixels, labels, generator)

        self.model.train()
        return Phase(
            loss=loss_of,
            batches=crops.batches,
            optimiser=build_optimiser([p for p in self.model.parameters() if p.requires_grad], settings["optimiser"]),
            epochs=settings["epochs"],
            rate=rate_by_epoch(settings),
            stop=self.early_stop(validation),
        )

    def views(self, table: PixelTable, rows: Int64[Tensor, " b"]) -> UInt8[Tensor, "b v 3 s s"]:
        """What of each image is scored: its centre crop."""
        if self.view["smaller"] == "black":
            return on_black(table, rows, self.crop, down=self.down)[:, None]
        return on_tiles(table, rows, self.crop, self.view["canvas"] or self.crop)[:, None]

    def logits_of(self, table: PixelTable, rows: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        """See `CropMethod.logits_of`: the mean over an image's views."""
        views = sent(self.views(table, rows), self.device)
        return self.model(self.preprocess(views.flatten(0, 1))).unflatten(0, views.shape[:2]).mean(1)
