"""Metrics, one file each: what is known of each without computing it, and where it is computed.

A metric is one line here and one file beside it, which holds ``measure``: a function of a
`tellsign.evaluation.tally.Tally` alone, so that the same lines measure a whole set, batches and resamples. A
configuration's ``evaluate: {metrics: [...]}`` says which are computed. Needs no numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tellsign.registry import Record, Registry


@dataclass(frozen=True, kw_only=True)
class Metric(Record):
    """One metric.

    Attributes:
        label: Heading in a table.
        unit: ``%`` is stored as a fraction in [0, 1] and shown times 100; empty is shown as it is stored.
        threshold: Whether it depends on the ``stated`` threshold, on the ``oracle``'s, or on ``none``.
        on_axis: Its words on a figure's axis, where the heading's would read badly before a unit.
    """

    label: str
    unit: Literal["%", ""] = "%"
    threshold: Literal["stated", "oracle", "none"] = "none"
    on_axis: str = ""

    @property
    def fingerprinted(self) -> list[Any]:
        """Its words as well, so that tables and figures follow them."""
        return [*super().fingerprinted, self.label, self.unit, self.on_axis]

    @property
    def factor(self) -> float:
        """From the stored value to the shown one."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def words(self) -> str:
        """The metric on a figure's axis or in its legend, without the unit."""
        return self.on_axis or self.label

    @property
    def axis_label(self) -> str:
        """The metric on a figure's axis, with the unit."""
        return f"{self.words} ({self.unit})" if self.unit else self.words


_HERE = "tellsign.evaluation.metrics"

METRICS = Registry(
    "metric",
    {
        "accuracy": Metric(f"{_HERE}.accuracy", "measure", label="accuracy", threshold="stated"),
        "accuracy_real": Metric(f"{_HERE}.accuracy_real", "measure", label="accuracy on reals", threshold="stated"),
        "accuracy_fake": Metric(f"{_HERE}.accuracy_fake", "measure", label="accuracy on fakes", threshold="stated"),
        "accuracy_oracle": Metric(
            f"{_HERE}.accuracy_oracle", "measure", label="accuracy, oracle threshold", threshold="oracle"
        ),
        "ap_fake": Metric(f"{_HERE}.ap_fake", "measure", label="AP (fake positive)", on_axis="AP, fake positive"),
        "ap_real": Metric(f"{_HERE}.ap_real", "measure", label="AP (real positive)", on_axis="AP, real positive"),
        "auc": Metric(f"{_HERE}.auc", "measure", label="AUC", on_axis="ROC AUC"),
        "ece": Metric(f"{_HERE}.ece", "measure", label="calibration error"),
    },
)
"""Metrics of one detector's scores, by name."""

_COMPARISONS = "tellsign.evaluation.comparisons"

COMPARISONS: Mapping[str, Metric] = {
    "accuracy_gain": Metric(_COMPARISONS, "accuracy_gain", label="gain in accuracy", threshold="stated"),
    "mcnemar_p": Metric(_COMPARISONS, "mcnemar", label="p (McNemar)", unit="", threshold="stated"),
}
"""Comparisons of two detectors on the same images, by name."""


def described(name: str) -> Metric | None:
    """What is known of a metric or comparison; None of another name."""
    record = METRICS.get(name) or COMPARISONS.get(name)
    return record if isinstance(record, Metric) else None
