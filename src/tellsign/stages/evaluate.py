"""Compute a run's metrics from its scores.

Reads:
  --scores    Parquet files of score: seed, epoch, benchmark, subset, perturbation, id, label, score; their notes tell
              how many images each training saw.
  --splits    TEST=PATH: the split each test set was scored on; every listed image must have its score.
  --baseline  scores of a second run on the same images, for the paired rows accuracy_gain and mcnemar_p.

Settings: paper, run; tests {TEST: {benchmark, perturbation}}; the fields of tellsign.schema.evaluation.Evaluate
(metrics, threshold, resamples, seed, batch, sampler, sample, classes, pooled_reals, validation); protocol, the name of
what differs from the configuration's; recipe, code, data (digests that travel with every number).

Writes:
  --out  Parquet, one row a number. checkpoint is "last", "mean" (of the kept epochs, if several), "best" (the kept
         epoch of highest accuracy on the validation test set, if one is named) or "epoch"; epoch is the last one that
         entered and epochs how many. subset is a subset's name or "mean", the plain mean over subsets, as the papers
         print it. value is a fraction in [0, 1] with its 95 % interval low-high over test images; spread is the
         standard deviation over the kept epochs. n_real and n_fake count distinct images. images_seen is the cost of
         the training: images times epochs, which, unlike seconds, is the same in every repetition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellsign.errors import UserError
from tellsign.evaluation.comparisons import called_fake, mcnemar
from tellsign.evaluation.listing import (
    Listing,
    ScoreRows,
    Scores,
    TestName,
    listing_of,
    scores_by_test,
    scores_in_order,
    splits_by_test,
)
from tellsign.evaluation.measuring import (
    Scored,
    bootstrap,
    drawn_batches,
    functions,
    interval,
    measure,
    measure_batches,
    of_each_label,
    strata,
)
from tellsign.evaluation.metrics import described
from tellsign.evaluation.parts import Part, parts_of
from tellsign.evaluation.scores import seen_by_training
from tellsign.evaluation.tally import Numbers, Threshold
from tellsign.system.parquet import write_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from jaxtyping import Float, Int

COLUMNS = (
    "paper", "run", "seed", "checkpoint", "epoch", "epochs", "benchmark", "subset", "perturbation",
    "threshold_rule", "metric", "value", "low", "high", "spread", "n_real", "n_fake", "images_seen", "recipe",
    "code", "data", "protocol",
)  # fmt: skip
"""Columns of the metrics, in order."""

PASSES = 20
"""Passes of batches over a test set whose mean is reported: one alone is a matter of luck where images are few."""

ByMetric = dict[str, Numbers]
"""Metric name to its value (no axis) or to its resampled values (one axis)."""


@dataclass
class SubsetMetrics:
    """All metrics of one seed and subset, epoch by epoch."""

    n_real: int
    n_fake: int
    points: list[ByMetric] = field(default_factory=list)
    draws: list[ByMetric] = field(default_factory=list)


def main(
    *,
    settings: dict,
    scores: list[Path],
    splits: dict[str, Path],
    out: Path,
    baseline: Path | None = None,
) -> None:
    """Compute metrics from scores; see the module's text.

    Raises:
        UserError: images without a score or listed nowhere, a score that is no probability, a subset of one
            class, a missing test set or seed, an unknown metric.
    """
    functions(settings["metrics"])
    if baseline and "accuracy" not in settings["metrics"]:
        raise UserError(f"{settings['run']}: a comparison with a baseline needs accuracy among the metrics.")
    written: list[tuple[Any, ...]] = []
    images_seen = {seed: seen for path in scores for seed, seen in seen_by_training(path).items()}
    tests = splits_by_test(settings["tests"], splits)
    rows_by_test = scores_by_test(scores)
    baseline_rows = scores_by_test([baseline]) if baseline else {}
    for extra in sorted(set(rows_by_test) - set(tests)):
        raise UserError(f"there are scores of test set {' / '.join(extra)}, which the settings do not name.")
    best = _best_epochs(settings, tests, rows_by_test)
    for test, its_splits in tests.items():
        benchmark, perturbation = test
        where = f"{settings['run']} on {benchmark} / {perturbation}"
        if test not in rows_by_test:
            raise UserError(f"{where}: there are no scores. Score the run on this test set first.")
        listing = listing_of(list(its_splits.values()), where)
        test_scores = scores_in_order(rows_by_test[test], listing, where)
        if (scored := sorted({seed for seed, _ in test_scores})) != sorted(images_seen):
            raise UserError(f"{where}: there are trainings of seeds {sorted(images_seen)}, but scores of {scored}.")
        rivals = _rivals(baseline_rows.get(test), listing, set(images_seen), where)
        for key, number in _numbers(listing, test_scores, rivals, best, settings, where):
            seed, checkpoint, epoch, epochs, subset, metric = key
            rule = _threshold_rule(metric, settings["threshold"])
            digests = (settings["recipe"], settings["code"], settings["data"], settings["protocol"])
            head = (settings["paper"], settings["run"], seed, checkpoint, epoch, epochs)
            row = (*head, benchmark, subset, perturbation, rule, metric, *number, images_seen[seed], *digests)
            written.append(row)
    write_rows(out, {name: list(column) for name, column in zip(COLUMNS, zip(*written, strict=True), strict=True)})


def _threshold_rule(metric: str, threshold: Threshold) -> str:
    record = described(metric)
    assert record is not None
    stated = threshold if isinstance(threshold, str) else f"{threshold:g}"
    return stated if record.threshold == "stated" else record.threshold


def _rivals(
    rows: ScoreRows | None, listing: Listing, seeds: set[int], where: str
) -> dict[int, Float[np.ndarray, " rows"]]:
    """The baseline's scores at its last epoch, by seed; none without a baseline."""
    if rows is None:
        return {}
    last = {seed: scores for (seed, _), scores in scores_in_order(rows, listing, f"baseline of {where}").items()}
    if not seeds <= set(last):
        raise UserError(f"{where}: the baseline has no scores for seeds {sorted(seeds - set(last))}.")
    return {seed: last[seed] for seed in sorted(seeds)}


def _best_epochs(
    settings: dict, tests: dict[TestName, dict[str, pa.Table]], rows_by_test: dict[TestName, ScoreRows]
) -> dict[int, int]:
    """The kept epoch of highest accuracy on the validation test set, the earliest of equals, by seed.

    Raises:
        UserError: the validation test set has no scores.
    """
    validation = settings["validation"]
    if validation is None:
        return {}
    names = [(name, test) for test, its_splits in tests.items() for name in its_splits]
    # a test set of several splits is listed as TEST.SPLIT
    matches = [test for name, test in names if name == validation or name.startswith(f"{validation}.")]
    test = matches[0] if matches else None
    if test is None or test not in rows_by_test:
        listed = ", ".join(name for name, _ in names)
        raise UserError(
            f"{settings['run']}: the protocol's validation is {validation!r}; this run is tested on {listed}."
        )
    where = f"{settings['run']} on {' / '.join(test)}"
    listing = listing_of(list(tests[test].values()), where)
    parts = parts_of(listing, settings, where)
    accuracy = functions(["accuracy"])
    best: dict[int, tuple[float, int]] = {}
    for (seed, epoch), scores in scores_in_order(rows_by_test[test], listing, where).items():
        of_parts = [
            measure(listing.label[part.rows], scores[part.rows], settings["threshold"], metrics=accuracy)
            for part in parts
        ]
        reached = float(np.mean([one["accuracy"] for one in of_parts]))
        if seed not in best or reached > best[seed][0]:
            best[seed] = (reached, epoch)
    return {seed: epoch for seed, (_, epoch) in best.items()}


def _numbers(
    listing: Listing,
    scores: Scores,
    rivals: dict[int, Float[np.ndarray, " rows"]],
    best: dict[int, int],
    settings: dict,
    where: str,
) -> list[tuple[tuple, tuple]]:
    """Every number of a test set: (seed, checkpoint, epoch, epochs, subset, metric) and its values."""
    parts = parts_of(listing, settings, where)
    used, image = np.unique(np.concatenate([listing.image[part.rows] for part in parts]), return_inverse=True)
    label = np.zeros(len(used), np.int64)
    label[image] = np.concatenate([listing.label[part.rows] for part in parts])
    measured = _measured(listing, parts, image, label, scores, rivals, settings)

    n_fake = int(label.sum())
    numbers = []
    for seed in dict.fromkeys(seed for seed, _ in scores):
        by_subset: dict[str, list[SubsetMetrics]] = {}
        for k, part in enumerate(parts):
            by_subset.setdefault(part.subset, []).append(measured[seed, k])
        results = {subset: _together(of_parts) for subset, of_parts in by_subset.items()}
        results["mean"] = _mean(list(results.values()), len(used) - n_fake, n_fake)
        epochs = [epoch for one, epoch in scores if one == seed]
        for subset, result in results.items():
            numbers += [
                ((seed, *head, subset, metric), (*value, result.n_real, result.n_fake))
                for head, metric, value in _rules(result, epochs, best.get(seed), settings["metrics"])
            ]
    return numbers


def _measured(
    listing: Listing,
    parts: Sequence[Part],
    image: Int[np.ndarray, " rows"],
    label: Int[np.ndarray, " images"],
    scores: Scores,
    rivals: dict[int, Float[np.ndarray, " rows"]],
    settings: dict,
) -> dict[tuple[int, int], SubsetMetrics]:
    """The metrics of every seed and part.

    Args:
        listing: The images of the test set.
        parts: What is measured.
        image: Number of the image of each row of each part, one part after the other.
        label: Label of each image.
        scores: By seed and epoch.
        rivals: Scores of a baseline, by seed.
        settings: Of the stage.
    """
    sizes = [len(part.rows) for part in parts]
    groups = strata(np.repeat(np.arange(len(parts)), sizes), image, label)
    images = np.split(image, np.cumsum(sizes)[:-1])

    def cut(of_rows: Float[np.ndarray, " rows"]) -> list[Scored]:
        return [
            Scored(own, listing.label[part.rows], of_rows[part.rows]) for own, part in zip(images, parts, strict=True)
        ]

    sets = {checkpoint: cut(of_rows) for checkpoint, of_rows in scores.items()}
    rival_sets = {seed: cut(of_rows) for seed, of_rows in rivals.items()}
    everything = [one for cuts in (*sets.values(), *rival_sets.values()) for one in cuts]
    # images are numbered in the order of their ids and the generator starts anew for every test set: equal
    # images have equal resamples under every seed, perturbation and run
    generator = np.random.default_rng(settings["seed"])
    rule = {"threshold": settings["threshold"], "batch": settings["batch"], "sampler": settings["sampler"]}
    rule["metrics"] = functions(settings["metrics"])
    drawn = iter(bootstrap(everything, groups, resamples=settings["resamples"], generator=generator, **rule))
    draws = {checkpoint: [next(drawn) for _ in parts] for checkpoint in sets}
    rival_draws = {seed: [next(drawn) for _ in parts] for seed in rival_sets}

    last = {seed: epoch for seed, epoch in scores}
    measured: dict[tuple[int, int], SubsetMetrics] = {}
    for (seed, epoch), cuts in sets.items():
        for k, one in enumerate(cuts):
            point = _point(one, settings)
            if seed in rival_sets and epoch == last[seed]:
                rival = rival_sets[seed][k]
                _compare(point, draws[seed, epoch][k], one, rival, rival_draws[seed][k], settings)
            n_fake = int(one.labels.sum())
            result = measured.setdefault((seed, k), SubsetMetrics(len(one.labels) - n_fake, n_fake))
            result.points.append(point)
            result.draws.append(draws[seed, epoch][k])
    return measured


def _point(one: Scored, settings: dict) -> ByMetric:
    """All metrics of one set of scores, without resampling."""
    metrics = functions(settings["metrics"])
    if settings["batch"] is None:
        return measure(one.labels, one.scores, settings["threshold"], metrics=metrics)
    # anew for every set: equal images make equal batches under every checkpoint
    generator = np.random.default_rng([settings["seed"], 1])
    pools = of_each_label(one.labels)
    drawn = [drawn_batches(pools, settings["batch"], settings["sampler"], generator) for _ in range(PASSES)]
    batches = np.concatenate(drawn)
    return measure_batches(one.labels[batches], one.scores[batches], settings["threshold"], metrics)


def _together(results: list[SubsetMetrics]) -> SubsetMetrics:
    """A subset of one part as it is; of several classes, their mean."""
    if len(results) == 1:
        return results[0]
    return _mean(results, sum(one.n_real for one in results), sum(one.n_fake for one in results))


def _mean(results: list[SubsetMetrics], n_real: int, n_fake: int) -> SubsetMetrics:
    """The plain mean over subsets, draw by draw; a p-value has no mean."""

    def average(numbers: list[ByMetric]) -> ByMetric:
        names = [name for name in numbers[0] if name != "mcnemar_p"]
        return {name: np.mean([one[name] for one in numbers], axis=0) for name in names}

    epochs = range(len(results[0].points))
    points = [average([result.points[epoch] for result in results]) for epoch in epochs]
    draws = [average([result.draws[epoch] for result in results]) for epoch in epochs]
    return SubsetMetrics(n_real, n_fake, points, draws)


def _rules(
    result: SubsetMetrics, epochs: list[int], best: int | None, metrics: Sequence[str]
) -> list[tuple[tuple[str, int, int], str, tuple[float, ...]]]:
    """Each checkpoint rule's numbers: (rule, last epoch, how many), metric, (value, low, high, spread)."""
    numbers = []

    def add(rule: str, chosen: list[int], names: Sequence[str]) -> None:
        for metric in names:
            values = np.array([result.points[k][metric] for k in chosen])
            low = high = math.nan
            if metric in result.draws[chosen[-1]]:
                low, high = interval(np.mean([result.draws[k][metric] for k in chosen], axis=0))
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
            head = (rule, epochs[chosen[-1]], len(chosen))
            numbers.append((head, metric, (float(np.mean(values)), low, high, spread)))

    add("last", [len(epochs) - 1], list(result.points[-1]))
    if best is not None:
        add("best", [epochs.index(best)], metrics)
    if len(epochs) > 1:
        add("mean", list(range(len(epochs))), metrics)
        for k in range(len(epochs)):
            add("epoch", [k], metrics)
    return numbers


def _compare(
    point: ByMetric, drawn: ByMetric, one: Scored, rival: Scored, rival_drawn: ByMetric, settings: dict
) -> None:
    """Add the paired comparison with a baseline to one checkpoint's numbers."""
    gain = point["accuracy"] - _point(rival, settings)["accuracy"]
    right, rival_right = (
        called_fake(scored.labels, scored.scores, settings["threshold"]) == (scored.labels == 1)
        for scored in (one, rival)
    )
    point |= {"accuracy_gain": gain, "mcnemar_p": np.asarray(mcnemar(right, rival_right))}
    drawn |= {"accuracy_gain": drawn["accuracy"] - rival_drawn["accuracy"]}
