"""What a configuration may say of how scores become metrics."""

from __future__ import annotations

from typing import Literal

from tellsign.schema.fields import Fraction, Positive, Several
from tellsign.schema.settings import Settings


class SampleLimit(Settings):
    """Which of the scored images count, in the order of the split's seed.

    UniversalFakeDetect's code is limit 1000, fallback 100: at most 1,000 of each label, and 100 of each where one
    label has fewer than 1,000. TIDY's test sets have the sizes of per ``class``.

    Attributes:
        limit: Images of each label; null for all.
        fallback: Images of each label where one has fewer than ``limit``; null takes what is there.
        per: What the limit holds for: a ``subset``, or each ``class`` folder of it.
    """

    limit: Positive[int] | None = None
    fallback: Positive[int] | None = None
    per: Literal["subset", "class"] = "subset"


class Evaluate(Settings):
    """How metrics are computed from scores: the protocol. A table's ``protocol`` says what differs in a cell.

    Attributes:
        metrics: Names in `tellsign.evaluation.metrics.METRICS`.
        threshold: A score above it is called fake; ``oracle`` takes what is best on the very test images (LaRE2).
        resamples: Bootstrap resamples of the test images.
        seed: Of the resamples and of the batches.
        batch: Metrics are means over batches of so many images (ForgeLens: 16) instead of those of the whole set.
        sampler: Batches are drawn ``balanced``, with replacement (ForgeLens), or ``shuffled``, each image once.
        sample: Which of the scored images count.
        classes: Nested class folders of a subset are ``pooled``, or each has its metrics and the subset their ``mean``.
        pooled_reals: Subsets tested against the real images of all subsets of their split: ``none``, ``all``, or their
            names.
        validation: Name of the run's test set that chooses the checkpoint ``best`` among the kept epochs; null for
            no such rule.
    """

    metrics: Several[str] = (
        "accuracy", "accuracy_real", "accuracy_fake", "accuracy_oracle", "ap_fake", "ap_real", "auc", "ece",
    )  # fmt: skip
    threshold: Literal["oracle"] | Fraction = 0.5
    resamples: Positive[int] = 1000
    seed: int = 0
    batch: Positive[int] | None = None
    sampler: Literal["balanced", "shuffled"] = "balanced"
    sample: SampleLimit = SampleLimit()
    classes: Literal["pooled", "mean"] = "pooled"
    pooled_reals: Literal["none", "all"] | Several[str] = "none"
    validation: str | None = None
