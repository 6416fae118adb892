"""Frank: classifiers of an image's cosine transform, each coefficient normalised by the training images.

Written from Frank et al. (2020), "Leveraging Frequency Analysis for Deep Fake Image Recognition" (arXiv 2003.08685).
Where its public code decides what the paper leaves open, the place says so. FreDect, a ResNet-50 in place of its
networks, is what AIGCDetectBenchmark runs under the paper's name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor, nn

from tellsign.data.pixels import PixelTable, augment
from tellsign.detectors.from_imagenet import FromImageNet
from tellsign.detectors.on_crops import EVALUATED, CropMethod
from tellsign.detectors.protocol import Phase, Sample
from tellsign.errors import UserError, choose
from tellsign.networks.coefficients import CLASSIFIERS
from tellsign.networks.determinism import drawn_from
from tellsign.networks.resnet50 import resnet50
from tellsign.networks.resnets import LogitOfFake
from tellsign.networks.state import State, load_strictly, read_state, read_stored

FLOOR = 1e-12
"""What is added to a coefficient's size before its logarithm is taken."""

NETWORK, STATISTICS = "DCTAnalysis.pth", {"mean": "auxiliary/dct_mean", "variance": "auxiliary/dct_var"}
"""FreDect's published files in the folder that holds them."""


class LogCosines(nn.Module):
    """Pixels, 0 to 255, to the logarithm of the size of each channel's cosine coefficients, in double precision.

    The transform is DCT-II, orthonormal, computed by scipy on the CPU, as in the public code.
    """

    def forward(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float64[Tensor, "b 3 h w"]:
        """The logarithms."""
        from scipy.fft import dct

        # one axis after the other, as the public code: both at once round differently where a coefficient is all but 0
        columns = dct(pixels.cpu().double().numpy(), axis=2, norm="ortho")
        coefficients = torch.from_numpy(dct(columns, axis=3, norm="ortho"))
        return (coefficients.abs() + FLOOR).log().to(pixels.device)


class Statistics(nn.Module):
    """Coefficients minus their mean over their deviation, both those of the training images.

    Args:
        side: Of the images, in pixels.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, side, side, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(3, side, side, dtype=torch.float64))

    def forward(self, x: Float64[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Normalised coefficients, in single precision."""
        return ((x - self.mean) / self.variance.sqrt()).float()


def mean_and_variance(batches: Iterator[Float64[Tensor, "b 3 h w"]]) -> tuple[Tensor, Tensor]:
    """Mean and population variance of each coefficient over all images, without holding them (Chan et al. 1979)."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        own = batch.mean(0)
        total = count + len(batch)
        squares = squares + ((batch - own) ** 2).sum(0) + (own - mean) ** 2 * (count * len(batch) / total)
        mean = mean + (own - mean) * (len(batch) / total)
        count = total
    return mean, squares / count


class CosineMethod(CropMethod):
    """A network on `LogCosines`, which `Statistics` of the training images normalise before its first layer."""

    @classmethod
    def front(cls, settings: Mapping[str, Any]) -> LogCosines:
        """See `CropMethod.front`."""
        return LogCosines()

    def phases(self, sample: Sample, validation: Sample | None, generator: torch.Generator) -> Iterator[Phase]:
        """See `CropMethod.phases`; before its training, the statistics are those of the centre crops."""
        if self.settings["epochs"] > 0:
            table, statistics = sample.inputs["crops"], self.model.get_submodule("statistics")
            crops = (table.center_crops(rows, self.settings["crop"]) for rows in sample.rows("crops").split(EVALUATED))
            found = mean_and_variance(self.preprocess(batch) for batch in crops)
            for name, value in zip(("mean", "variance"), found, strict=True):
                statistics.get_buffer(name).copy_(value)
        yield from super().phases(sample, validation, generator)


class FrankMethod(CosineMethod):
    """One of the paper's networks on whole images."""

    @staticmethod
    def network(settings: Mapping[str, Any]) -> nn.Sequential:
        """See `CropMethod.network`."""
        side = settings["crop"]
        layers = choose(CLASSIFIERS, settings["version"], "version")(side, 1)
        return nn.Sequential(OrderedDict(statistics=Statistics(side), **layers, fake=LogitOfFake()))

    def training_crops(
        self, table: PixelTable, rows: Int64[Tensor, " b"], generator: torch.Generator
    ) -> UInt8[Tensor, "b 3 s s"]:
        """See `CropMethod.training_crops`: the centre, since a coefficient belongs to its place."""
        crops = table.center_crops(rows, self.settings["crop"])
        return augment(crops, generator, flip=self.settings["flip"], rotate=False)

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """See `CropMethod.loss`; that of ``ridge`` has a penalty on its weights."""
        with drawn_from(generator):
            loss = super().loss(pixels, labels, generator)
        if self.settings["version"] != "ridge":
            return loss
        return loss + self.settings["l2"] * self.model.get_submodule("dense").get_parameter("weight").square().sum()


class FreDectMethod(CosineMethod, FromImageNet):
    """A ResNet-50 on crops."""

    own: ClassVar[tuple[str, ...]] = ("fc.", "statistics.")

    @staticmethod
    def network(settings: Mapping[str, Any]) -> nn.Sequential:
        """See `CropMethod.network`."""
        layers = OrderedDict(resnet50().named_children())
        return nn.Sequential(OrderedDict(statistics=Statistics(settings["crop"]), **layers, fake=LogitOfFake()))

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `FromImageNet.begin`; the weights may also be the folder of the published files."""
        weights = Path(settings["network"]["weights"])
        if not weights.is_dir():
            return super().begin(settings, sample, start, device)
        method = cls.restore(settings, {"crop": settings["crop"]}, device)
        load_strictly(method.model, published_state(weights), f"the folder {str(weights)!r} for 'fredect'")
        return method


def published_state(folder: Path) -> State:
    """The state of FreDect from its published files.

    Raises:
        UserError: one is missing, or holds something else.
    """
    state = read_state(folder / NETWORK)
    for name, file in STATISTICS.items():
        value = read_stored(folder / file)
        if not isinstance(value, Tensor):
            raise UserError(f"{str(folder / file)!r} holds no tensor but {type(value).__name__}.")
        state[f"statistics.{name}"] = value
    return state
