"""What tells fakes from photographs without looking at a pixel, and what was seen before the test.

A benchmark whose fakes differ in size or JPEG quality rewards detectors that see just that (Grommelt et al.
2024). These figures say whether a benchmark is such a one. Bits a pixel is no matter of format alone: it
sums up how much fine detail an image carries, and is reported beside the results; the demo does not drive it to chance.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from jaxtyping import Float, Real

LEFT_OUT = "left out"
"""The note of a split that says, as JSON, how many images it left out because they contradict others, by status."""

TWO_LABELS = {"status": "two labels", "reason": "the same bytes are under real and under fake"}
"""What a row of an image is marked with that is both real and fake."""

Numbers = Real[np.ndarray, " n"]
Formats = Real[np.ndarray, "n 3"]


def auc(real: Numbers, fake: Numbers) -> float:
    """Probability that a random fake's number exceeds a random real's; ties count half (Mann-Whitney).

    Raises:
        ValueError: one of the two is empty.
    """
    if not len(real) or not len(fake):
        raise ValueError("the area under the curve needs at least one real and one fake")
    ordered = np.sort(real)
    below, up_to = np.searchsorted(ordered, fake, "left"), np.searchsorted(ordered, fake, "right")
    return float((below + up_to).mean() / (2 * len(real)))


def bits_per_pixel(sizes: Numbers, heights: Numbers, widths: Numbers) -> Float[np.ndarray, " n"]:
    """Bits of the file for each pixel, from the file's size in bytes."""
    return 8.0 * sizes / (heights * widths)


def bits_per_pixel_auc(bits_real: Numbers, bits_fake: Numbers) -> float:
    """How well bits a pixel alone tell fakes: 0.5 not at all, above when fakes cost more, below when less."""
    return auc(bits_real, bits_fake)


def format_auc(
    real_train: Formats, fake_train: Formats, real_test: Formats, fakes_test: Mapping[str, Formats]
) -> dict[str, float]:
    """Area under the curve, for each generator, of a random forest that sees width, height and JPEG quality.

    Args:
        real_train: Rows of width, height, JPEG quality.
        fake_train: The same of the training generator's fakes.
        real_test: The same of the test part's photographs.
        fakes_test: The same of each generator's test fakes.

    Returns:
        About 0.5 for each generator when format says nothing.
    """
    from sklearn.ensemble import RandomForestClassifier

    rows = np.concatenate([real_train, fake_train])
    labels = np.repeat([0, 1], [len(real_train), len(fake_train)])
    forest = RandomForestClassifier(200, min_samples_leaf=5, random_state=0).fit(rows, labels)
    scores = forest.predict_proba(real_test)[:, 1]
    return {name: auc(scores, forest.predict_proba(fakes)[:, 1]) for name, fakes in fakes_test.items()}


# What ILSVRC-2012 calls its validation images; its training images are named n01440764_10026.JPEG.
VALIDATION_NAME = re.compile(r"(^|/)ILSVRC2012_val_\d+\.", re.IGNORECASE)


def validation_photographs(paths: Iterable[str]) -> list[str]:
    """The paths that name validation images of ImageNet.

    GenImage's test part takes its real images from there: an encoder that is pre-trained on them has seen the
    test's real half.
    """
    return [path for path in paths if VALIDATION_NAME.search(path)]


def seen_before(
    seen: Mapping[str, Collection[str]], tested: Mapping[str, Collection[str]]
) -> dict[tuple[str, str], int]:
    """How many images of each test set are in each set that was trained or pre-trained on.

    Args:
        seen: Ids of the images of each such set, by its name.
        tested: Ids of each test set's images.

    Returns:
        (name of what was seen, name of the test set) → number of images that both hold, where it is not 0.
    """
    tests = {name: frozenset(ids) for name, ids in tested.items()}
    shared = {(before, test): len(ids.intersection(seen[before])) for before in seen for test, ids in tests.items()}
    return {pair: count for pair, count in shared.items() if count}
