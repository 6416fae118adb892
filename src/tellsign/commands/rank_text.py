"""Rankings of detectors as text and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellsign.commands.text_table import aligned, percent
from tellsign.evaluation.metrics import described
from tellsign.evaluation.ranks import Place


@dataclass(frozen=True)
class Ranking:
    """A ranking on one test set, with what stands beside it.

    Attributes:
        test: Benchmark and perturbation.
        metric: Name of the metric.
        places: Best first.
        sizes: Numbers in the weights of each detector; NaN where they are not known.
        speeds: Images that its scoring took a second; NaN where it is not known.
        left_out: How many of each detector's rows some other has not.
    """

    test: str
    metric: str
    places: Sequence[Place]
    sizes: Mapping[str, float]
    speeds: Mapping[str, float]
    left_out: Mapping[str, int]


def as_markdown(rankings: Sequence[Ranking]) -> str:
    """A table a test set, and what was left out."""
    return "\n".join(_markdown(ranking) for ranking in rankings)


def _markdown(ranking: Ranking) -> str:
    record = described(ranking.metric)
    assert record is not None
    head = [
        "detector",
        f"{record.label} (%)",
        "95 %",
        "rank",
        "95 %",
        "first (%)",
        "above the next (%)",
        "size (M)",
        "images/s",
    ]
    rows = []
    for k, place in enumerate(ranking.places):
        size, speed = ranking.sizes[place.detector], ranking.speeds[place.detector]
        rows.append(
            [
                place.detector,
                percent(place.value),
                f"{percent(place.low)}–{percent(place.high)}",
                f"{place.rank:g}",
                f"{place.rank_low:g}–{place.rank_high:g}",
                percent(place.first),
                percent(place.above[k + 1]) if k + 1 < len(ranking.places) else "–",
                "–" if math.isnan(size) else f"{size / 1e6:.1f}",
                "–" if math.isnan(speed) else f"{speed:.3g}",
            ]
        )
    notes = [
        f"{count} images of {name} are not scored by all: left out."
        for name, count in ranking.left_out.items()
        if count
    ]
    return "\n".join([f"# {ranking.test}", "", aligned(head, rows), "", *notes])


def as_csv(rankings: Sequence[Ranking]) -> str:
    """Every number: a row a detector, and a column for how often it is above each of the others."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for ranking in rankings:
        names = [place.detector for place in ranking.places]
        fields = ("value", "low", "high", "rank", "rank_low", "rank_high", "first")
        writer.writerow(
            ["test", "metric", "detector", *fields, "size", "images a second", *(f"above {name}" for name in names)]
        )
        for place in ranking.places:
            size = ranking.sizes[place.detector]
            numbers = [f"{getattr(place, field):.6g}" for field in fields]
            above = [
                "" if name == place.detector else f"{share:.6g}" for name, share in zip(names, place.above, strict=True)
            ]
            speed = ranking.speeds[place.detector]
            told = ["" if math.isnan(size) else f"{size:.0f}", "" if math.isnan(speed) else f"{speed:.6g}"]
            writer.writerow([ranking.test, ranking.metric, place.detector, *numbers, *told, *above])
    return stream.getvalue()
