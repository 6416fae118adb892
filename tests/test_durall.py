"""Durall: against its public code's results, against slow code, and through the stages."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from baseline_cases import Case, cases_of
from PIL import Image
from small_runs import check_run, plan_of, train_and_val, trained

from tellsign.data.opencv import grey
from tellsign.detectors.durall import Kernel, features, fit, log_spectrum, resampled, ring_means
from tellsign.detectors.registry import RECIPES
from tellsign.errors import UserError

CLASSIFIERS = {
    "svm_linear": {"classifier": "svm-linear", "c": 1.0, "gamma": "scale"},
    "svm_rbf": {"classifier": "svm-rbf", "c": 6.37, "gamma": 0.86},
    "svm_poly": {"classifier": "svm-poly", "c": 1.0, "gamma": "scale"},
    "logistic": {"classifier": "logistic", "c": 1.0, "gamma": "scale"},
}
SMALL = {"method": "durall", "points": 12}
FAR = 16
"""Levels by which a JPEG's luma may differ from the grey of its decoded colours, which are cut off at 0 and 255."""


def decision_values(x: np.ndarray, y: np.ndarray, z: np.ndarray, classifier: str, **options: float | str) -> np.ndarray:
    """What a classifier that was fitted to some features says of others."""
    model = Kernel(classifier)
    fit(model, x, y, classifier=classifier, **options)
    return model(torch.from_numpy(z)).numpy()


@pytest.mark.parametrize("path", cases_of("durall"))
def test_a_case_of_the_public_code_comes_out_the_same(path):
    case = Case(path)
    for number in case.pictures:
        image = case.stored[f"picture_{number}"].numpy()
        case.compare(f"gray_{number}", torch.from_numpy(grey(image)), exact=True)
        spectrum = log_spectrum(grey(image))
        case.compare(f"spectrum_{number}", torch.from_numpy(spectrum))
        case.compare(f"profile_{number}", torch.from_numpy(features(image, third=False, points=None)))
        case.compare(f"celeba_{number}", torch.from_numpy(features(image, third=False, points=80)))
        case.compare(f"deepfake_{number}", torch.from_numpy(features(image, third=True, points=300)))
    if "jpeg_file" in case.stored:
        decoded = Image.open(io.BytesIO(case.stored["jpeg_file"].numpy().tobytes()))
        difference = grey(np.array(decoded)).astype(int) - case.stored["jpeg_gray"].numpy()
        assert np.abs(difference).max() <= FAR and np.abs(difference).mean() < 1
        decoded = Image.open(io.BytesIO(case.stored["jpeg_file"].numpy().tobytes()))
        decoded.draft("L", decoded.size)
        case.compare("jpeg_gray", torch.from_numpy(np.array(decoded)), exact=True)
    x, y, z = (case.stored[name].numpy() for name in ("train_x", "train_y", "test_x"))
    for name, options in CLASSIFIERS.items():
        case.compare(f"decision_{name}", torch.from_numpy(decision_values(x, y, z, **options)))
    case.compared |= dict.fromkeys(("jpeg_file", "train_x", "train_y", "test_x", "test_y"), 0.0)  # what is given
    case.check_all_compared()


@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 9), (8, 13)])
def test_the_profile_is_that_of_explicit_sums(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    shade = [[math.floor(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in row] for row in image.tolist()]
    assert np.abs(grey(image) - np.array(shade)).max() <= 1
    rows, columns = (np.exp(-2j * np.pi * np.outer(np.arange(n) - n // 2, np.arange(n)) / n) for n in (height, width))
    spectrum = 20 * np.log(np.abs(rows @ grey(image) @ columns.T + 1e-8))
    rings: dict[int, list[float]] = {}
    for y, x in np.ndindex(height, width):
        rings.setdefault(int(math.hypot(y - (height - 1) / 2, x - (width - 1) / 2)), []).append(spectrum[y, x])
    expected = [sum(rings[ring]) / len(rings[ring]) for ring in sorted(rings)][1:-1]
    assert np.allclose(features(image, third=False, points=None), expected, rtol=1e-9)


def test_a_profile_of_1024_pixels_has_722_values_and_a_cubic_stays_one():
    assert len(ring_means(np.zeros((1024, 1024)))) == 722
    x = np.linspace(0, 1, 9)
    cubic = lambda t: 2 + t - 3 * t**2 + 0.5 * t**3  # noqa: E731
    assert np.allclose(resampled(cubic(x), 7), cubic(np.linspace(0, 1, 7)) / 2)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_stored_classifier_decides_as_scikit_learns(name):
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    draws, options = np.random.default_rng(1), CLASSIFIERS[name]
    x, y, z = draws.normal(size=(40, 3)), draws.integers(0, 2, 40), draws.normal(size=(9, 3))
    kernel = name.removeprefix("svm_")
    theirs = (
        LogisticRegression(solver="liblinear", max_iter=1000)
        if name == "logistic"
        else SVC(kernel=kernel, C=options["c"], gamma=options["gamma"])
    )
    expected = theirs.fit(x, y).decision_function(z)
    assert np.allclose(decision_values(x, y, z, **options), expected, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return train_and_val(tmp_path_factory)


@pytest.mark.parametrize("classifier", ["svm-rbf", "svm-linear", "logistic"])
def test_it_is_planned_fitted_and_scored(data, tmp_path, classifier):
    assert check_run(data, tmp_path, SMALL | {"classifier": classifier}) == []


def test_profiles_of_images_that_differ_in_size_need_points(data, tmp_path):
    plan = plan_of(tmp_path, {"rival": SMALL | {"points": None}})
    with pytest.raises(UserError, match="since images differ in size"):
        trained(data, tmp_path / "run", plan.checkpoint(plan.run("toys", "rival"), 0))
    with pytest.raises(UserError, match="3 × 9 px has 0 rings; 4 are needed"):
        features(np.zeros((3, 9, 3), np.uint8), third=True, points=8)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"classifier": "svm-sigmoid"}, "svm-rbf"),
        ({"gamma": 0}, "gamma"),
        ({"points": 0}, "points"),
        ({"third": "yes please"}, "third"),
        ({"epochs": 3}, "epochs"),
    ],
)
def test_a_recipe_that_cannot_be_right_is_refused(tmp_path, run, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, {"rival": {"method": "durall"} | run}).everything()


def test_test_images_alone_may_be_resized():
    recipe = RECIPES.load("durall")(resize_test={"mode": "squash", "size": 64})
    assert recipe.inputs()["crops"].resize is None and recipe.test_inputs()["crops"].resize.size == 64
