"""The recipe of a head on cached embeddings (TIDY)."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from tellsign.detectors.recipes.base import Embeddings, Recipe, Source, optimisation_entries
from tellsign.networks.heads import HEADS
from tellsign.registry import Record
from tellsign.schema.data import Bias
from tellsign.schema.fields import Pair, Positive
from tellsign.schema.networks import HEAD_SETTINGS, Head
from tellsign.schema.settings import Settings
from tellsign.schema.training import OPTIMISER_SETTINGS, SCHEDULE_SETTINGS, Data, Optimiser, Schedule


class Discrepancy(Settings):
    """TIDY's representation (Eq. 2 to 6) and the choices the paper leaves open.

    Attributes:
        use: ``both``, ``global``, ``local``, ``image`` (only the image embedding) or ``text``.
        weights: w1 of the global and w2 of the local distance.
        normalise: L2-normalise embeddings before the difference.
        no_object: D_l of an image without objects: ``global`` (equal to D_g) or ``zero``.
    """

    use: Literal["both", "global", "local", "image", "text"] = "both"
    weights: Pair[float] = (1.0, 1.0)
    normalise: bool = True
    no_object: Literal["global", "zero"] = "global"


class FeatureRecipe(Recipe):
    """Everything that can change a number of one training on cached features (TIDY)."""

    method: str = "features"
    data: Data = Data()
    annotate: str = "default"
    discrepancy: Discrepancy = Discrepancy()
    head: Head = HEAD_SETTINGS["mlp2"]()
    optimiser: Optimiser = OPTIMISER_SETTINGS["adamw"](lr=1e-3, weight_decay=1e-3)
    schedule: Schedule = SCHEDULE_SETTINGS["step"]()
    epochs: Positive[int] = 50
    batch_size: Positive[int] = 256
    keep: Positive[int] = 1
    bias: Bias = Bias()

    needs_gpu: ClassVar[bool] = False
    enter_by_inputs: ClassVar[frozenset[str]] = frozenset({"bias", "annotate"})

    @model_validator(mode="after")
    def _right_together(self) -> Self:
        if self.head.name == "nearest":
            raise ValueError("the head 'nearest' stores image features; for method: features take another.")
        return self

    def inputs(self) -> dict[str, Source]:
        """Embeddings of the whole images and their texts."""
        return {"features": Embeddings(self.annotate)}

    def network_entries(self) -> tuple[Record, ...]:
        """See `Recipe.network_entries`."""
        return (*super().network_entries(), HEADS.find(self.head.name))

    def training_entries(self) -> tuple[Record, ...]:
        """See `Recipe.training_entries`."""
        return optimisation_entries(self.optimiser, self.schedule)

    def epochs_kept(self) -> int:
        """See `Recipe.epochs_kept`."""
        return min(self.keep, self.epochs)
