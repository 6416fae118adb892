"""Compute a run's metrics from its scores.

Reads:
  --scores       Parquet files of score: seed, epoch, benchmark, subset, perturbation, id, label, score.
  --splits       TEST=PATH: the split each test set was scored on; every listed image must have its score.
  --checkpoints  SEED=FOLDER: the run's trainings; provenance.json there tells how many images they saw.
  --baseline     scores of a second run on the same images, for the paired rows accuracy_gain and mcnemar_p.

Settings: paper, run; tests {TEST: {benchmark, perturbation}}; threshold (a score above it is called fake);
resamples and seed of the bootstrap; recipe, code, data (digests that travel with every number).

Writes:
  --out  Parquet, one row a number. checkpoint is "last", "mean" (of the kept epochs, if several)
         or "epoch"; epoch is the last one that entered and epochs how many. subset is a subset's name or
         "mean", the plain mean over subsets, as the papers print it. value is a fraction in [0, 1] with its
         95 % interval low-high over test images; spread is the standard deviation over the kept epochs.
         n_real and n_fake count distinct images. images_seen is the cost of the training: images times epochs,
         which, unlike seconds, is the same in every repetition.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellsign.errors import UserError
from tellsign.metrics import (
    METRICS,
    THRESHOLDED,
    Scored,
    bootstrap,
    interval,
    mcnemar,
    measure,
    strata,
)
from tellsign.runtime import read_rows, write_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from jaxtyping import Float, Int

COLUMNS = (
    "paper", "run", "seed", "checkpoint", "epoch", "epochs", "benchmark", "subset", "perturbation",
    "threshold_rule", "metric", "value", "low", "high", "spread", "n_real", "n_fake", "images_seen", "recipe",
    "code", "data",
)  # fmt: skip
"""Columns of the metrics, in order."""

Numbers = dict[str, "Float[np.ndarray, ...]"]
"""Metric name to its value (no axis) or to its resampled values (one axis)."""


@dataclass(frozen=True)
class Rows:
    """Score rows as arrays."""

    seed: Int[np.ndarray, " rows"]
    epoch: Int[np.ndarray, " rows"]
    subset: np.ndarray
    image: np.ndarray
    label: Int[np.ndarray, " rows"]
    score: Float[np.ndarray, " rows"]

    def where(self, chosen: np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass
class Result:
    """All metrics of one seed and subset, epoch by epoch."""

    n_real: int
    n_fake: int
    points: list[Numbers] = field(default_factory=list)
    draws: list[Numbers] = field(default_factory=list)


def main(
    *,
    settings: dict,
    scores: list[Path],
    splits: dict[str, Path],
    checkpoints: dict[str, Path],
    out: Path,
    baseline: Path | None = None,
) -> None:
    """Compute metrics from scores; see the module's text.

    Raises:
        UserError: images without a score or listed nowhere, a score that is no probability, a subset of one
            class, a missing test set or seed.
    """
    written: list[tuple[Any, ...]] = []
    seen = {int(seed): _images_seen(folder) for seed, folder in checkpoints.items()}
    tests = _tests(settings["tests"], splits)
    tables = _by_test(scores)
    others = _by_test([baseline]) if baseline else {}
    for extra in sorted(set(tables) - {pair for pair, _ in tests}):
        raise UserError(f"there are scores of test set {' / '.join(extra)}, which the settings do not name.")
    for (benchmark, perturbation), split in tests:
        where = f"{settings['run']} on {benchmark} / {perturbation}"
        if (benchmark, perturbation) not in tables:
            raise UserError(f"{where}: there are no scores. Score the run on this test set first.")
        rows = tables[benchmark, perturbation]
        if (scored := sorted(set(rows.seed.tolist()))) != sorted(seen):
            raise UserError(f"{where}: there are trainings of seeds {sorted(seen)}, but scores of {scored}.")
        _check_values(rows, where)
        _check_listed(rows, split, where)
        other = others.get((benchmark, perturbation))
        if other is not None:
            _check_listed(other, split, f"baseline of {where}")
        for named, number in _numbers(rows, other, settings, where):
            seed, checkpoint, epoch, epochs, subset, metric = named
            rule = _threshold_rule(metric, settings["threshold"])
            test = (benchmark, subset, perturbation)
            digests = (settings["recipe"], settings["code"], settings["data"])
            head = (settings["paper"], settings["run"], seed, checkpoint, epoch, epochs)
            written.append((*head, *test, rule, metric, *number, seen[seed], *digests))
    write_rows(out, {name: list(held) for name, held in zip(COLUMNS, zip(*written, strict=True), strict=True)})


def _tests(tests: dict[str, dict[str, str]], splits: dict[str, Path]) -> list[tuple[tuple[str, str], pa.Table]]:
    """The images of each (benchmark, perturbation): those of one split, or of several that make one test set.

    Raises:
        UserError: a test set without a split, or two that list the same subset.
    """
    import pyarrow as pa

    found: dict[tuple[str, str], dict[str, pa.Table]] = {}
    for name, test in tests.items():
        pair = (test["benchmark"], test["perturbation"])
        if name not in splits:
            raise UserError(f"test set {name!r} has no split. Got splits for: {', '.join(splits) or 'none'}.")
        table = read_rows(splits[name])
        subsets = set(_strings(table, "subset").tolist())
        for other, held in found.get(pair, {}).items():
            if shared := subsets & set(_strings(held, "subset").tolist()):
                raise UserError(
                    f"test sets {other!r} and {name!r} are both {pair[0]} / {pair[1]} and both hold {min(shared)}: "
                    "their scores cannot be told apart. Give them benchmarks of their own, or keep one."
                )
        found.setdefault(pair, {})[name] = table
    return [(pair, pa.concat_tables(held.values())) for pair, held in found.items()]


def _by_test(paths: Sequence[Path]) -> dict[tuple[str, str], Rows]:
    import pyarrow as pa

    table = pa.concat_tables([read_rows(path) for path in paths])
    benchmark, perturbation = _strings(table, "benchmark"), _strings(table, "perturbation")
    numbers = {name: table.column(name).to_numpy() for name in ("seed", "epoch", "label", "score")}
    rows = Rows(subset=_strings(table, "subset"), image=_strings(table, "id"), **numbers)
    pairs = sorted(set(zip(benchmark.tolist(), perturbation.tolist(), strict=True)))
    return {pair: rows.where((benchmark == pair[0]) & (perturbation == pair[1])) for pair in pairs}


def _strings(table: pa.Table, name: str) -> np.ndarray:
    """A text column as fixed-width text, which numpy compares and sorts quickly."""
    return np.asarray(table.column(name).to_pylist(), dtype=np.str_)


def _images_seen(folder: Path) -> float:
    facts = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    return float(facts.get("images_seen", math.nan))


def _threshold_rule(metric: str, threshold: float) -> str:
    if metric == "accuracy_oracle":
        return "oracle"
    return f"{threshold:g}" if metric in (*THRESHOLDED, "accuracy_gain", "mcnemar_p") else "none"


def _check_values(rows: Rows, where: str) -> None:
    wrong = np.flatnonzero(~((rows.score >= 0) & (rows.score <= 1)))
    if len(wrong):
        first = wrong[0]
        raise UserError(
            f"{where}: {len(wrong)} scores are no probabilities, first {rows.score[first]} of image "
            f"{rows.image[first][:12]} (seed {rows.seed[first]}). The training has probably diverged: lower "
            "its learning rate."
        )


def _check_listed(rows: Rows, split: pa.Table, where: str) -> None:
    listed = _keys(_strings(split, "subset"), _strings(split, "id"), split.column("label").to_numpy())
    for seed, epoch in _checkpoints(rows):
        one = rows.where((rows.seed == seed) & (rows.epoch == epoch))
        scored = _keys(one.subset, one.image, one.label)
        if np.array_equal(listed, scored):
            continue
        missing, extra = np.setdiff1d(listed, scored), np.setdiff1d(scored, listed)
        doubled = len(scored) - len(np.unique(scored))
        example = f" First missing: {missing[0]} (subset/id/label)." if len(missing) else ""
        raise UserError(
            f"{where}, seed {seed}, epoch {epoch}: {len(listed)} images are listed and {len(scored)} scored; "
            f"{len(missing)} listed images have no score, {len(extra)} scored images are not listed, "
            f"{doubled} are scored twice.{example} Remove the scores file and score again."
        )


def _keys(subset: np.ndarray, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    parts = zip(subset.tolist(), image.tolist(), label.tolist(), strict=True)
    return np.sort(np.array([f"{s}/{i}/{y}" for s, i, y in parts], dtype=np.str_))


def _checkpoints(rows: Rows) -> list[tuple[int, int]]:
    return sorted(set(zip(rows.seed.tolist(), rows.epoch.tolist(), strict=True)))


def _numbers(rows: Rows, other: Rows | None, settings: dict, where: str) -> list[tuple[tuple, tuple]]:
    """Every number of a test set: (seed, checkpoint, epoch, epochs, subset, metric) and its values."""
    subsets, images, sets = _sets(rows, where)
    groups = _groups(rows, subsets, images, where)
    last = {seed: epoch for seed, epoch in _checkpoints(rows)}
    held = list(sets.values())
    rivals: dict[tuple[int, str], Scored] = {}
    if other is not None:
        rivals = _rivals(other, images, subsets, set(last), where)
    # images are numbered in the order of their ids and the generator starts anew for every test set: equal
    # images have equal resamples under every seed, perturbation and run
    generator = np.random.default_rng(settings["seed"])
    threshold = settings["threshold"]
    draws = bootstrap([*held, *rivals.values()], groups, threshold, settings["resamples"], generator)
    rival_draws = dict(zip(rivals, draws[len(held) :], strict=True))

    results: dict[tuple[int, str], Result] = {}
    for ((seed, epoch, subset), one), drawn in zip(sets.items(), draws[: len(held)], strict=True):
        n_fake = int(one.labels.sum())
        result = results.setdefault((seed, subset), Result(len(one.labels) - n_fake, n_fake))
        point = measure(one.labels, one.scores, threshold)
        if (seed, subset) in rivals and epoch == last[seed]:
            _compare(point, drawn, one, rivals[seed, subset], rival_draws[seed, subset], threshold)
        result.points.append(point)
        result.draws.append(drawn)

    n_fake = len(np.unique(rows.image[rows.label == 1]))
    numbers = []
    for seed in last:
        own = {subset: results[seed, subset] for subset in subsets}
        own["mean"] = _mean(list(own.values()), len(images) - n_fake, n_fake)
        epochs = [epoch for at, epoch in _checkpoints(rows) if at == seed]
        for subset, result in own.items():
            numbers += [
                ((seed, *head, subset, metric), (*value, result.n_real, result.n_fake))
                for head, metric, value in _rules(result, epochs)
            ]
    return numbers


def _compare(
    point: Numbers, drawn: Numbers, one: Scored, rival: Scored, rival_drawn: Numbers, threshold: float
) -> None:
    """Add the paired comparison with a baseline to one checkpoint's numbers."""
    gain = point["accuracy"] - measure(rival.labels, rival.scores, threshold)["accuracy"]
    right, rival_right = ((scored.scores > threshold) == (scored.labels == 1) for scored in (one, rival))
    point |= {"accuracy_gain": gain, "mcnemar_p": np.asarray(mcnemar(right, rival_right))}
    drawn |= {"accuracy_gain": drawn["accuracy"] - rival_drawn["accuracy"]}


def _sets(rows: Rows, where: str) -> tuple[list[str], np.ndarray, dict[tuple[int, int, str], Scored]]:
    """Subsets in order, sorted image ids, and the scores of each seed, epoch and subset."""
    subsets = list(dict.fromkeys(rows.subset.tolist()))
    if "mean" in subsets:
        raise UserError(f"{where}: a subset is called 'mean', the name of the mean over subsets. Rename it.")
    images = np.unique(rows.image)
    sets = {}
    for seed, epoch in _checkpoints(rows):
        for subset in subsets:
            one = rows.where((rows.seed == seed) & (rows.epoch == epoch) & (rows.subset == subset))
            sets[seed, epoch, subset] = scored = _scored(one, images)
            for value, what in ((0, "real"), (1, "fake")):
                if not np.any(scored.labels == value):
                    raise UserError(f"{where}: subset {subset!r} has no {what} images; the metrics need both classes.")
    return subsets, images, sets


def _scored(rows: Rows, images: np.ndarray) -> Scored:
    """Rows sorted by image, so that two detectors' rows stand in one order."""
    order = np.argsort(rows.image, kind="stable")
    image = np.searchsorted(images, rows.image[order])
    return Scored(image, rows.label[order].astype(np.int64), rows.score[order])


def _groups(rows: Rows, subsets: list[str], images: np.ndarray, where: str) -> Int[np.ndarray, " images"]:
    image = np.searchsorted(images, rows.image)
    label = np.zeros(len(images), np.int64)
    label[image] = rows.label
    torn = np.flatnonzero(label[image] != rows.label)
    if len(torn):
        raise UserError(
            f"{where}: image {rows.image[torn[0]][:12]} is listed both as real and as fake ({len(torn)} "
            "rows). Remove it from one of the folders."
        )
    numbers = {name: number for number, name in enumerate(subsets)}
    return strata(np.array([numbers[name] for name in rows.subset.tolist()]), image, label)


def _rivals(
    other: Rows, images: np.ndarray, subsets: list[str], seeds: set[int], where: str
) -> dict[tuple[int, str], Scored]:
    """The baseline's scores at its last epoch, by seed and subset."""
    last = {seed: epoch for seed, epoch in _checkpoints(other)}
    if not seeds <= set(last):
        raise UserError(f"{where}: the baseline has no scores for seeds {sorted(seeds - set(last))}.")
    found = {}
    for seed in sorted(seeds):
        for subset in subsets:
            chosen = (other.seed == seed) & (other.epoch == last[seed]) & (other.subset == subset)
            found[seed, subset] = _scored(other.where(chosen), images)
    return found


def _mean(results: list[Result], n_real: int, n_fake: int) -> Result:
    """The plain mean over subsets, draw by draw; a p-value has no mean."""

    def average(numbers: list[Numbers]) -> Numbers:
        names = [name for name in numbers[0] if name != "mcnemar_p"]
        return {name: np.mean([one[name] for one in numbers], axis=0) for name in names}

    epochs = range(len(results[0].points))
    points = [average([result.points[epoch] for result in results]) for epoch in epochs]
    draws = [average([result.draws[epoch] for result in results]) for epoch in epochs]
    return Result(n_real, n_fake, points, draws)


def _rules(result: Result, epochs: list[int]) -> list[tuple[tuple[str, int, int], str, tuple[float, ...]]]:
    """Each checkpoint rule's numbers: (rule, last epoch, how many), metric, (value, low, high, spread)."""
    found = []

    def add(rule: str, chosen: list[int], metrics: Sequence[str]) -> None:
        for metric in metrics:
            values = np.array([result.points[k][metric] for k in chosen])
            low = high = math.nan
            if metric in result.draws[chosen[-1]]:
                low, high = interval(np.mean([result.draws[k][metric] for k in chosen], axis=0))
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
            head = (rule, epochs[chosen[-1]], len(chosen))
            found.append((head, metric, (float(np.mean(values)), low, high, spread)))

    add("last", [len(epochs) - 1], list(result.points[-1]))
    if len(epochs) > 1:
        add("mean", list(range(len(epochs))), METRICS)
        for k in range(len(epochs)):
            add("epoch", [k], METRICS)
    return found
