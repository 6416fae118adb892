"""The recipe of any method: what the plan asks, and the answers of most.

A method's recipe is a subclass. Its fields are what a run may say, its methods what follows from them for the plan,
which knows no recipe by its class. A rule over several fields is a pydantic validator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from tellsign.networks.backbones import BACKBONES
from tellsign.registry import Record
from tellsign.schema.data import Bias
from tellsign.schema.fields import Positive
from tellsign.schema.loading import plain
from tellsign.schema.networks import Encoder
from tellsign.schema.settings import Settings
from tellsign.schema.training import Data, EarlyStopping, Optimiser, Resize, Schedule
from tellsign.training.optimisers import OPTIMISERS
from tellsign.training.schedules import SCHEDULES


class Pixels(NamedTuple):
    """Decoded images of a split.

    Attributes:
        side: Of the centre crops, in pixels; null keeps whole images.
        resize: Resizing before that; null for none.
    """

    side: int | None = None
    resize: Resize | None = None


class Embeddings(NamedTuple):
    """CLIP's embeddings of a split's whole images and of their captions and objects.

    Attributes:
        annotate: The ``annotate`` section of the paper that says how they are made.
    """

    annotate: str


Source = Pixels | Embeddings
"""What an input of a method is made by; `tellsign.plan.training` makes it. Its images are perturbed and their bias is
controlled as the run's data, its recipe and its tests say."""


class Start(NamedTuple):
    """Where weights come from instead of the method's own: ``pretrain:NAME`` or ``run:NAME``; empty for nowhere."""

    kind: str = ""
    name: str = ""


class OwnNetwork(NamedTuple):
    """A network that a method brings itself, and the weights it starts from; see `Encoder` for one of the registry.

    Attributes:
        name: As ``config/rates.yaml`` calls it.
        weights: ``none`` (random), a name in ``config/weights.yaml``, or a path.
        front: None: what it sees is its own.
    """

    name: str
    weights: str
    front: str | None = None


class Work(NamedTuple):
    """What an image costs while a run is trained or scored, for the doctor.

    Attributes:
        network: The network that takes the time, as ``config/rates.yaml`` calls it.
        side: Side of what it sees of an image, in pixels.
        trained: Whether a training computes gradients through it.
    """

    network: str
    side: int
    trained: bool


class Recipe(Settings):
    """What every recipe says.

    Attributes:
        needs_gpu: Whether a training, and a scoring, is worth a GPU; one that is not takes seconds to minutes.
        without_effect: Fields that change no number of the training. Runs that differ in these alone are trained once.
        enter_by_inputs: Fields that change the inputs and are not read by the training itself.
        method: Name of the method.
        data: Training images.
        keep: Weights that are looked at: those of the last ``keep`` epochs.
        bias: Bias control of the training and the test images.
    """

    needs_gpu: ClassVar[bool] = True
    without_effect: ClassVar[frozenset[str]] = frozenset({"keep"})
    enter_by_inputs: ClassVar[frozenset[str]] = frozenset({"bias"})

    method: str
    data: Data = Data()
    keep: Positive[int] = 1
    bias: Bias = Bias()

    def inputs(self) -> dict[str, Source]:
        """What the training looks at, by role; the method's readers open the same roles."""
        return {"crops": Pixels()}

    def validation_inputs(self) -> dict[str, Source]:
        """What early stopping looks at, by role."""
        return {}

    def test_inputs(self) -> dict[str, Source]:
        """What scoring looks at, by role."""
        return self.inputs()

    def view(self) -> dict[str, Any]:
        """What the method must know of the test's inputs beside them, as plain data."""
        return {}

    def validation(self) -> EarlyStopping | None:
        """Early stopping; null where all epochs are trained."""
        return None

    def origin(self) -> Start:
        """Where the weights come from; whatever stands before the colon is its kind, right or wrong."""
        return Start()

    def networks(self) -> Mapping[str, Encoder | OwnNetwork]:
        """Networks whose weights the plan must find, by the setting in which the method gets the place."""
        return {}

    def network_entries(self) -> tuple[Record, ...]:
        """Entries of registries that the detector is built of; their code enters wherever it is built."""
        return tuple(BACKBONES.find(network.name) for network in self.networks().values())

    def training_entries(self) -> tuple[Record, ...]:
        """Entries of registries that the training alone loads by name; their code enters its fingerprint."""
        return ()

    def models_by_subset(self) -> bool:
        """Whether each subset has a model of its own (few-shot)."""
        return False

    def epochs_kept(self) -> int:
        """How many epochs' weights a run is scored with."""
        return self.keep

    @classmethod
    def work(cls, settings: Mapping[str, Any], view: Mapping[str, Any] | None = None) -> Work | None:
        """What an image costs; None where all images together take minutes.

        Args:
            settings: Those of a training.
            view: How images are scored, as `view` says; None for the training itself.
        """
        return None

    def annotations(self) -> set[str]:
        """The ``annotate`` sections that its inputs are made by."""
        sources = [*self.inputs().values(), *self.test_inputs().values()]
        return {source.annotate for source in sources if isinstance(source, Embeddings)}

    def identity(self) -> dict[str, Any]:
        """Equal for recipes that are one training, as plain data."""
        return {name: value for name, value in plain(self).items() if name not in self.without_effect}

    def training_settings(self) -> dict[str, Any]:
        """What the training reads, as plain data; all else enters by its inputs or has no effect."""
        settings = {name: value for name, value in self.identity().items() if name not in self.enter_by_inputs}
        return settings | {"data": {"subsets": list(self.data.subsets), "count": self.data.count}}


def optimisation_entries(optimiser: Optimiser, schedule: Schedule) -> tuple[Record, Record]:
    """The entries of registries that say how parameters move; their code enters what is trained."""
    return OPTIMISERS.find(optimiser.name), SCHEDULES.find(schedule.kind)
