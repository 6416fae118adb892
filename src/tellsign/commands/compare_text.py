"""What a comparison of two detectors found, as tables and in words."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tellsign.commands.text_table import aligned, percent, points
from tellsign.evaluation.matching import Matched, Place, short
from tellsign.evaluation.paired import MEAN, POOLED, Difference
from tellsign.evaluation.tally import Threshold
from tellsign.results.tables.verdicts import Verdict, verdict

LEVEL = 0.05
"""p-values below it count as a finding."""

NAMED = 10
"""So many of the images that only one detector scored are named in the text; --out FILE.csv names all."""

Better = Literal["A", "B", "not decided"]

IN_FAVOUR_OF: dict[Verdict, Better] = {"holds": "A", "does not hold": "B", "not decided": "not decided"}
"""What it means for the two whether A less B is above 0."""

RANKINGS = {"auc": "AUC (%)", "ap_fake": "AP, fake positive (%)"}
"""Metrics that need no threshold, with their headings."""


@dataclass(frozen=True)
class Compared:
    """Two detectors on one test set.

    Attributes:
        test: Benchmark and perturbation.
        names: What the two are called.
        threshold: Above it a score is called fake.
        matched: Their scores on the same images.
        lines: What was found.
    """

    test: str
    names: tuple[str, str]
    threshold: Threshold
    matched: Matched
    lines: Sequence[Difference]

    def found(self, subset: str, metric: str) -> tuple[Difference, list[Difference]]:
        """The mean over seeds of a metric, and its values by seed."""
        lines = [line for line in self.lines if (line.subset, line.metric) == (subset, metric)]
        return lines[-1], lines[:-1]

    def subsets(self, metric: str) -> list[str]:
        """Subsets, and what sums them up, that have a metric."""
        return list(dict.fromkeys(line.subset for line in self.lines if line.metric == metric))

    def better(self, subset: str, metric: str = "accuracy") -> Better:
        """Which is better: where the interval and every seed agree, and McNemar's test of every seed finds it too."""
        mean, by_seed = self.found(subset, metric)
        tests = [line.p if line.p_holm is None else line.p_holm for line in by_seed if line.p is not None]
        if any(p >= LEVEL for p in tests if p is not None):
            return "not decided"
        return IN_FAVOUR_OF[verdict(mean.low, mean.high, [line.difference for line in by_seed], 0.0)]


def as_markdown(compared: Sequence[Compared]) -> str:
    """All test sets, each with its tables and its paragraph."""
    first = compared[0]
    rule = (
        "at the threshold that is best on these images" if first.threshold == "oracle" else f"above {first.threshold}"
    )
    parts = [f"A is {first.names[0]}, B is {first.names[1]}. An image is called fake {rule}."]
    for one in compared:
        parts += [f"## {one.test}", _accuracy(one), *_rankings(one), words(one)]
    return "\n\n".join(parts) + "\n"


def _accuracy(one: Compared) -> str:
    head = ("accuracy (%)", "real", "fake", "A", "B", "A − B", "95 % interval", "only A right", "only B right", "p",
            "p, Holm", "better")  # fmt: skip
    rows = []
    for subset in one.subsets("accuracy"):
        mean, by_seed = one.found(subset, "accuracy")
        counts = [_range((getattr(line, side) for line in by_seed), "d") for side in ("only_first", "only_second")]
        tests = [_range((getattr(line, name) for line in by_seed), ".2g") for name in ("p", "p_holm")]
        rows.append([*_head(mean), *counts, *tests, one.better(subset)])
    return aligned(head, rows)


def _rankings(one: Compared) -> list[str]:
    """Tables of the metrics that need no threshold."""
    tables = []
    for metric, label in RANKINGS.items():
        head = (label, "real", "fake", "A", "B", "A − B", "95 % interval", "better")
        rows = [[*_head(one.found(name, metric)[0]), one.better(name, metric)] for name in one.subsets(metric)]
        tables += [aligned(head, rows)] if rows else []
    return tables


def _head(mean: Difference) -> list[str]:
    return [
        mean.subset, str(mean.n_real), str(mean.n_fake), percent(mean.first), percent(mean.second),
        points(mean.difference), interval_text(mean),
    ]  # fmt: skip


def interval_text(line: Difference) -> str:
    """The interval of a difference in percentage points."""
    return f"{points(line.low)} to {points(line.high)}"


def _range(values: Iterable[float | None], form: str) -> str:
    """The least and the greatest of the values by seed; a dash where there is none."""
    known = [value for value in values if value is not None]
    ends = dict.fromkeys(f"{value:{form}}" for value in (min(known), max(known))) if known else {"–": None}
    return " to ".join(ends)


# ------------------------------------------------------------------------------------------------ words


def words(one: Compared) -> str:
    """What holds and what is not decided."""
    subsets = one.matched.subsets
    chief = MEAN if MEAN in one.subsets("accuracy") else subsets[0]
    mean, by_seed = one.found(chief, "accuracy")
    where = f"In the mean over {len(subsets)} subsets" if chief == MEAN else f"On {chief}"
    images = f"{mean.n_real + mean.n_fake:,} images"
    sentences = [
        f"{where} ({images}), A is right on {percent(mean.first)} % and B on {percent(mean.second)} %: "
        f"{points(mean.difference)} points, 95 % interval {interval_text(mean)}. {_verdict(one, chief)}"
    ]
    sentences += _pooled(one) + _by_subset(one) + _ranking(one, chief) + _constant(one)
    sentences.append(_seeds(by_seed))
    places = (one.matched.only_first, one.matched.only_second)
    sentences += [_left_out(name, own) for name, own in zip("AB", places, strict=True) if own]
    return textwrap.fill(" ".join(sentences), 110, break_long_words=False, break_on_hyphens=False)


def _verdict(one: Compared, subset: str) -> str:
    better = one.better(subset)
    if better != "not decided":
        return f"{better} is better there."
    mean, by_seed = one.found(subset, "accuracy")
    if mean.low <= 0 <= mean.high:
        return "Which of them is better is not decided: the interval holds 0."
    if len({line.difference > 0 for line in by_seed}) > 1:
        return "Which of them is better is not decided: the seeds disagree."
    return f"Which of them is better is not decided: McNemar's test does not find it (p below {LEVEL}) at every seed."


def _pooled(one: Compared) -> list[str]:
    if POOLED not in one.subsets("accuracy"):
        if len(one.matched.subsets) == 1:
            return []
        return ["Images are not pooled: some have other scores in other subsets."]
    mean, by_seed = one.found(POOLED, "accuracy")
    found = sum(line.p is not None and line.p < LEVEL for line in by_seed)
    said = [
        f"Over all images pooled the difference is {points(mean.difference)} points ({interval_text(mean)}); McNemar's "
        f"test finds one (p below {LEVEL}) at {found} of {len(by_seed)} seeds."
    ]
    few, many = sorted((mean.n_real, mean.n_fake))
    if many > 1.5 * few:
        what = "fakes" if mean.n_fake == many else "reals"
        said.append(f"There {what} count for more: {mean.n_real} are real and {mean.n_fake} fake.")
    return said


def _by_subset(one: Compared) -> list[str]:
    if len(one.matched.subsets) == 1:
        return []
    sorted_by: dict[Better, list[str]] = {}
    for subset in one.matched.subsets:
        sorted_by.setdefault(one.better(subset), []).append(subset)
    known: tuple[tuple[Better, str], ...] = (
        ("A", "A is better on"), ("B", "B is better on"), ("not decided", "it is not decided on"),
    )  # fmt: skip
    said = [f"{what} {', '.join(sorted_by[which])}" for which, what in known if which in sorted_by]
    return [f"Subset by subset, {'; '.join(said)}."]


def _ranking(one: Compared, subset: str) -> list[str]:
    """What of the difference is a matter of the threshold."""
    if subset not in one.subsets("auc"):
        return ["There are images of one label only, so that nothing is said of how they are ranked."]
    accuracy, auc = one.better(subset), one.better(subset, "auc")
    mean = one.found(subset, "auc")[0]
    said = f"AUC, which needs no threshold, differs by {points(mean.difference)} points ({interval_text(mean)})"
    if accuracy != auc and "not decided" not in (accuracy, auc):
        return [f"{said}: the other way, so the threshold suits {accuracy} better."]
    if accuracy != "not decided" and auc == "not decided":
        return [f"{said}: the difference in accuracy may be one of the threshold alone."]
    return [f"{said}."]


def _constant(one: Compared) -> list[str]:
    """Who gives all images of a subset the same verdict: accuracy says nothing of it then."""
    if one.threshold == "oracle":
        return []
    said: dict[tuple[str, str], list[str]] = {}
    for name, by_seed in zip("AB", (one.matched.first, one.matched.second), strict=True):
        for number, subset in enumerate(one.matched.subsets):
            rows = one.matched.subset == number
            for seed, scores in by_seed.items():
                called = scores[rows] > one.threshold
                if np.all(called == called[0]):
                    said.setdefault((name, "fake" if called[0] else "real"), []).append(f"{subset} (seed {seed})")
    return [f"{name} calls everything {what} on {', '.join(where)}." for (name, what), where in said.items()]


def _seeds(by_seed: Sequence[Difference]) -> str:
    over = "The intervals are over images of these sets"
    if len(by_seed) == 1:
        return f"{over}; one seed says nothing of another training."
    spread = float(np.std([line.difference for line in by_seed], ddof=1))
    return f"{over}; from seed to seed the difference has a standard deviation of {percent(spread)} points."


def _left_out(name: str, places: Sequence[Place]) -> str:
    counts = ", ".join(f"{count} of {subset}" for subset, count in Counter(subset for subset, _ in places).items())
    listed = ", ".join(f"{subset}/{short(image)}" for subset, image in places[:NAMED])
    more = " …" if len(places) > NAMED else ""
    return f"Scored by {name} alone, and left out: {counts} ({listed}{more})."
