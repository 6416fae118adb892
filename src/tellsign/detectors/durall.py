"""Durall: a classifier on how the logarithm of an image's spectrum falls with the frequency (Durall et al. 2019).

Written from "Unmasking DeepFakes with simple Features" (arXiv 1911.00686). Where its public code decides what the paper
leaves open, the place says so. The public code reads a JPEG's luma from its file; here images are decoded already, and
grey is what it makes of a PNG.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor, nn

from tellsign.data.opencv import grey
from tellsign.data.pixels import PixelTable
from tellsign.detectors.protocol import Phase, Sample
from tellsign.errors import UserError
from tellsign.system.progress import progress


def log_spectrum(image: UInt8[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    """20 ln |F + 1e-8|, frequency 0 in the middle (public code; the paper does not state the logarithm)."""
    return 20 * np.log(np.abs(np.fft.fftshift(np.fft.fft2(image)) + 1e-8))


def ring_means(spectrum: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, " rings"]:
    """Means over rings of whole radii about the middle of the array, without the first and the last ring.

    The middle lies half a pixel off frequency 0 where sides are even (public code).
    """
    height, width = spectrum.shape
    y, x = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    ring = np.hypot(x, y[:, None]).astype(np.int64).ravel()
    counts, sums = np.bincount(ring), np.bincount(ring, spectrum.ravel())
    return (sums[counts > 0] / counts[counts > 0])[1:-1]


def resampled(profile: Float64[np.ndarray, " n"], points: int) -> Float64[np.ndarray, " points"]:
    """A profile at equally distant points by a cubic spline, over its first value."""
    from scipy.interpolate import CubicSpline

    values = CubicSpline(np.linspace(0, points, len(profile)), profile)(np.linspace(0, points, points))
    return values / values[0]


def features(image: UInt8[np.ndarray, "h w 3"], *, third: bool, points: int | None) -> Float64[np.ndarray, " d"]:
    """What the classifier sees of an image.

    Args:
        image: RGB.
        third: Look at the middle third of both sides alone.
        points: See `resampled`; null takes the profile as it is, whose length follows from the image's size.

    Raises:
        UserError: the image is too small for a spline.
    """
    shade = grey(image)
    if third:
        height, width = (side // 3 for side in shade.shape)
        shade = shade[height : shade.shape[0] - height, width : shade.shape[1] - width]
    profile = ring_means(log_spectrum(shade))
    if len(profile) < 4:
        raise UserError(f"an image of {image.shape[0]} × {image.shape[1]} px has {len(profile)} rings; 4 are needed.")
    return profile if points is None else resampled(profile, points)


KERNELS = {"svm-linear": "linear", "svm-rbf": "rbf", "svm-poly": "poly", "logistic": "linear"}
"""The kernel of a classifier, as scikit-learn calls it."""


class Kernel(nn.Module):
    """A classifier by a kernel: the weighted sum of the kernel with stored vectors, and a bias, all in float64.

    A linear one, as the logistic regression, needs one vector. It is fitted by scikit-learn and has nothing to train
    here.

    Args:
        classifier: As the recipe says it; ``svm-poly`` is of degree 3 and has no constant.
    """

    vectors: Tensor
    weights: Tensor
    bias: Tensor
    gamma: Tensor

    def __init__(self, classifier: str) -> None:
        super().__init__()
        self.kernel = KERNELS[classifier]
        shapes = {"vectors": (0, 0), "weights": (0,), "bias": (), "gamma": ()}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def store(self, **values: Any) -> None:
        """Replace ``vectors``, ``weights``, ``bias`` and ``gamma``."""
        for name, value in values.items():
            setattr(self, name, torch.as_tensor(np.array(value, np.float64), device=self.bias.device))

    def forward(self, x: Float64[Tensor, "b d"]) -> Float64[Tensor, " b"]:
        """Decision values, positive for fake."""
        if self.kernel == "rbf":
            distances = (x[:, None] - self.vectors).square().sum(2)
            return (-self.gamma * distances).exp() @ self.weights + self.bias
        products = x @ self.vectors.T
        return ((self.gamma * products) ** 3 if self.kernel == "poly" else products) @ self.weights + self.bias


def gamma_of(setting: float | str, x: Float64[np.ndarray, "n d"]) -> float:
    """The kernel's factor: a number, ``auto`` (1/d) or ``scale`` (1/d over the variance of all numbers)."""
    if setting == "auto":
        return 1 / x.shape[1]
    return 1 / (x.shape[1] * float(x.var())) if setting == "scale" else float(setting)


def fit(
    model: Kernel, x: Float64[np.ndarray, "n d"], fake: np.ndarray, *, classifier: str, c: float, gamma: float | str
) -> None:
    """Fit a classifier of scikit-learn's with its penalty's inverse ``c``, and store it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    factor = gamma_of(gamma, x)
    if classifier == "logistic":
        found = LogisticRegression(solver="liblinear", max_iter=1000, C=c).fit(x, fake)
        model.store(vectors=found.coef_, weights=[1.0], bias=found.intercept_[0], gamma=factor)
        return
    found = SVC(kernel=model.kernel, C=c, gamma=factor).fit(x, fake)  # pyright: ignore[reportArgumentType]
    model.store(vectors=found.support_vectors_, weights=found.dual_coef_[0], bias=found.intercept_[0], gamma=factor)


class DurallMethod:
    """A support vector machine or a logistic regression on `features` of whole images.

    Args:
        model: The classifier.
        settings: The recipe.
        device: Where it is computed; features are computed on the CPU.
    """

    readers: ClassVar[Mapping[str, Callable[[Path], Any]]] = {"crops": PixelTable.open}

    def __init__(self, model: Kernel, settings: Mapping[str, Any], device: torch.device) -> None:
        self.model, self.settings, self.device = model.to(device), settings, device

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `Method.begin`."""
        return cls.restore(settings, {}, device)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """See `Method.restore`."""
        model = Kernel(settings["classifier"])
        shape = settings.get("shape", {})
        for name, sides in shape.items():
            model.register_buffer(name, torch.zeros(sides, dtype=torch.float64))
        return cls(model, settings, device)

    def shape(self) -> dict[str, Any]:
        """See `Method.shape`: how many vectors are stored, and their length."""
        return {"shape": {name: list(getattr(self.model, name).shape) for name in ("vectors", "weights")}}

    def features(self, inputs: Mapping[str, Any], ids: Sequence[str]) -> Float64[np.ndarray, "n d"]:
        """Features of images in the order of their ids.

        Raises:
            UserError: profiles are taken as they are, and images differ in size.
        """
        table, rows = inputs["crops"], inputs["crops"].rows_of(ids).tolist()
        options = {"third": self.settings["third"], "points": self.settings["points"]}
        images = (table.image(row).permute(1, 2, 0).numpy() for row in progress(rows, len(rows), "spectra"))
        found = [features(image, **options) for image in images]
        lengths = sorted({len(one) for one in found} | set(self.model.vectors.shape[1:]) - {0})
        if len(lengths) > 1:
            raise UserError(
                f"profiles have lengths from {lengths[0]} to {lengths[-1]}, since images differ in size. Give points, "
                "to which each profile is resampled, or resize."
            )
        return np.array(found)

    def phases(self, sample: Sample, validation: Sample | None, generator: torch.Generator) -> Iterator[Phase]:
        """See `Method.phases`: none; the classifier is fitted."""
        x = self.features(sample.inputs, sample.ids)
        options = {name: self.settings[name] for name in ("classifier", "c", "gamma")}
        fit(self.model, x, sample.labels.numpy(), **options)
        yield from ()

    @torch.inference_mode()
    def scores(self, inputs: Mapping[str, Any], ids: Sequence[str], batch_size: int) -> Float64[np.ndarray, " n"]:
        """See `Method.scores`: the decision value's sigmoid, 0.5 where the decision is; no calibrated probability."""
        x = torch.from_numpy(self.features(inputs, ids)).to(self.device)
        return np.concatenate([self.model(part).sigmoid().cpu().numpy() for part in x.split(batch_size)])
