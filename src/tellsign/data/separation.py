"""How well a few numbers of each file tell the labels apart, whatever the pixels show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FOLDS = 5

LEAST = 10
"""Images of each label below which nothing is said."""


@dataclass(frozen=True)
class Separation:
    """Balanced accuracy, the mean of the accuracies on reals and on fakes, with its 95 % interval; fractions."""

    value: float
    low: float
    high: float

    @property
    def found(self) -> bool:
        """Whether the labels can be told apart at all."""
        return self.low > 0.5


SAME = Separation(0.5, 0.5, 0.5)
"""Where all files are alike: chance, without a doubt."""


def wilson(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a proportion; it has a width where all are right, too.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    from scipy.stats import binomtest

    found = binomtest(right, count).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def balanced(labels: Int[np.ndarray, " files"], called: Int[np.ndarray, " files"]) -> Separation:
    """Balanced accuracy of verdicts.

    The interval adds the distances of both labels' intervals as squares (Zou and Donner 2008, Statistics in Medicine
    27, equations 9 and 10, for a mean of independent estimates).
    """
    values, lower, upper = [], [], []
    for label in (0, 1):
        own = called[labels == label] == label
        right = int(np.count_nonzero(own))
        low, high = wilson(right, len(own))
        value = right / len(own)
        values.append(value)
        lower.append(value - low)
        upper.append(high - value)
    value = sum(values) / 2
    return Separation(value, value - math.hypot(*lower) / 2, value + math.hypot(*upper) / 2)


def separation(
    labels: Int[np.ndarray, " files"], columns: Float[np.ndarray, "files columns"], seed: int
) -> Separation | None:
    """How well a decision tree tells unseen files' labels by these columns, in cross-validation.

    The tree has at least five files a leaf, and both labels weigh the same. A better classifier may find more.

    Args:
        labels: 0 real, 1 fake.
        columns: What it sees of each file.
        seed: Of the folds and of the tree.

    Returns:
        None where a label has fewer than `LEAST` files.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    if min(np.count_nonzero(labels == label) for label in (0, 1)) < LEAST:
        return None
    if (columns == columns[0]).all():
        return SAME
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    tree = DecisionTreeClassifier(min_samples_leaf=5, class_weight="balanced", random_state=seed)
    return balanced(labels, np.asarray(cross_val_predict(tree, columns, labels, cv=folds)))
