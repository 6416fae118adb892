"""Compute a run's metrics from its scores.

Reads:
  --scores       Parquet files of score: seed, epoch, benchmark, subset, perturbation, id, label, score.
  --splits       TEST=PATH: the split each test set was scored on; every listed image must have its score.
  --checkpoints  SEED=FOLDER: the run's trainings; provenance.json there tells how many images they saw.
  --baseline     scores of a second run on the same images, for the paired rows accuracy_gain and mcnemar_p.

Settings: paper, run; tests {TEST: {benchmark, perturbation}}; the fields of tellsign.schema.evaluation.Evaluate
(threshold, resamples, seed, batch, sampler, sample, classes, pooled_reals, validation); protocol, the name of what
differs from the configuration's; recipe, code, data (digests that travel with every number).

Writes:
  --out  Parquet, one row a number. checkpoint is "last", "mean" (of the kept epochs, if several), "best" (the kept
         epoch of highest accuracy on the validation test set, if one is named) or "epoch"; epoch is the last one that
         entered and epochs how many. subset is a subset's name or "mean", the plain mean over subsets, as the papers
         print it. value is a fraction in [0, 1] with its 95 % interval low-high over test images; spread is the
         standard deviation over the kept epochs. n_real and n_fake count distinct images. images_seen is the cost of
         the training: images times epochs, which, unlike seconds, is the same in every repetition.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellsign.errors import UserError, choose
from tellsign.evaluation.metrics import (
    METRICS,
    THRESHOLDED,
    Scored,
    Threshold,
    accuracy,
    bootstrap,
    called_fake,
    curve,
    drawn_batches,
    interval,
    mcnemar,
    measure,
    measure_batches,
    strata,
)
from tellsign.system.parquet import read_rows, write_rows

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

Numbers = dict[str, "Float[np.ndarray, ...]"]
"""Metric name to its value (no axis) or to its resampled values (one axis)."""


@dataclass(frozen=True)
class Listing:
    """The images of a test set, in the order of its split, which is the order of the split's seed.

    Attributes:
        subsets: names of the subsets, in order.
        images: ids of the images, in alphabetical order.
        subset: number of each row's subset.
        image: number of each row's image.
        label: 0 real, 1 fake.
        folder: number of each row's class folder within the benchmark; 0 everywhere if there are none.
        split: number of the split that each row stands in, where several make one test set.
    """

    subsets: list[str]
    images: np.ndarray
    subset: Int[np.ndarray, " rows"]
    image: Int[np.ndarray, " rows"]
    label: Int[np.ndarray, " rows"]
    folder: Int[np.ndarray, " rows"]
    split: Int[np.ndarray, " rows"]

    @property
    def keys(self) -> Int[np.ndarray, " rows"]:
        """One number a row: subset, image, label."""
        return (self.subset * len(self.images) + self.image) * 2 + self.label

    def named(self, key: int) -> str:
        """What a key stands for, for messages."""
        pair, label = divmod(key, 2)
        subset, image = divmod(pair, len(self.images))
        return f"{self.subsets[subset]}/{self.images[image].decode()}/{label}"


@dataclass(frozen=True)
class Part:
    """Rows of a listing that are measured together: a subset, or one class of it."""

    subset: str
    rows: Int[np.ndarray, " rows"]


Scores = dict[tuple[int, int], "Float[np.ndarray, ' rows']"]
"""Seed and epoch to the scores of a listing's rows."""


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
    for extra in sorted(set(tables) - set(tests)):
        raise UserError(f"there are scores of test set {' / '.join(extra)}, which the settings do not name.")
    best = _best_epochs(settings, tests, tables)
    for (benchmark, perturbation), listed in tests.items():
        where = f"{settings['run']} on {benchmark} / {perturbation}"
        if (benchmark, perturbation) not in tables:
            raise UserError(f"{where}: there are no scores. Score the run on this test set first.")
        listing = _listing(list(listed.values()), where)
        held = _scores(tables[benchmark, perturbation], listing, where)
        if (scored := sorted({seed for seed, _ in held})) != sorted(seen):
            raise UserError(f"{where}: there are trainings of seeds {sorted(seen)}, but scores of {scored}.")
        other = others.get((benchmark, perturbation))
        rivals = _rivals(_scores(other, listing, f"baseline of {where}"), set(seen), where) if other else {}
        for named, number in _numbers(listing, held, rivals, best, settings, where):
            seed, checkpoint, epoch, epochs, subset, metric = named
            rule = _threshold_rule(metric, settings["threshold"])
            test = (benchmark, subset, perturbation)
            digests = (settings["recipe"], settings["code"], settings["data"], settings["protocol"])
            head = (settings["paper"], settings["run"], seed, checkpoint, epoch, epochs)
            written.append((*head, *test, rule, metric, *number, seen[seed], *digests))
    write_rows(out, {name: list(held) for name, held in zip(COLUMNS, zip(*written, strict=True), strict=True)})


def _tests(tests: dict[str, dict[str, str]], splits: dict[str, Path]) -> dict[tuple[str, str], dict[str, pa.Table]]:
    """The splits of each (benchmark, perturbation), by name: one, or several that make one test set.

    Raises:
        UserError: a test set without a split, or two that list the same subset.
    """
    found: dict[tuple[str, str], dict[str, pa.Table]] = {}
    for name, test in tests.items():
        pair = (test["benchmark"], test["perturbation"])
        if name not in splits:
            raise UserError(f"test set {name!r} has no split. Got splits for: {', '.join(splits) or 'none'}.")
        table = read_rows(splits[name])
        subsets = set(table.column("subset").to_pylist())
        for other, held in found.get(pair, {}).items():
            if shared := subsets & set(held.column("subset").to_pylist()):
                raise UserError(
                    f"test sets {other!r} and {name!r} are both {pair[0]} / {pair[1]} and both hold {min(shared)}: "
                    "their scores cannot be told apart. Give them benchmarks of their own, or keep one."
                )
        found.setdefault(pair, {})[name] = table
    return found


@dataclass(frozen=True)
class Rows:
    """Score rows of one test set; texts are numbers of ``subsets`` and ``images``."""

    subsets: list[str]
    images: list[str]
    seed: Int[np.ndarray, " rows"]
    epoch: Int[np.ndarray, " rows"]
    subset: Int[np.ndarray, " rows"]
    image: Int[np.ndarray, " rows"]
    label: Int[np.ndarray, " rows"]
    score: Float[np.ndarray, " rows"]


TEXTS = ("benchmark", "perturbation", "subset", "id")


def _by_test(paths: Sequence[Path]) -> dict[tuple[str, str], Rows]:
    import pyarrow as pa

    # texts stay the numbers that the file holds: a run's scores are millions of rows of few different texts
    table = pa.concat_tables([read_rows(path, codes=TEXTS) for path in paths])
    (benchmark, benchmarks), (perturbation, perturbations), (subset, subsets), (image, images) = (
        _codes(table, name) for name in TEXTS
    )
    numbers = {name: table.column(name).to_numpy() for name in ("seed", "epoch", "label", "score")}
    pair = benchmark.astype(np.int64) * len(perturbations) + perturbation
    found = {}
    for one in np.unique(pair).tolist():
        chosen = slice(None) if (pair == one).all() else pair == one
        name = (benchmarks[one // len(perturbations)], perturbations[one % len(perturbations)])
        held = {key: values[chosen] for key, values in numbers.items()}
        found[name] = Rows(subsets, images, subset=subset[chosen], image=image[chosen], **held)
    return found


def _codes(table: pa.Table, name: str) -> tuple[Int[np.ndarray, " rows"], list[str]]:
    """A column of texts as numbers, and the texts that they stand for."""
    joined = table.select([name]).unify_dictionaries().column(0).combine_chunks()
    return joined.indices.to_numpy(zero_copy_only=False), joined.dictionary.to_pylist()


def _numbered(names: Sequence[str]) -> tuple[np.ndarray, Int[np.ndarray, " names"]]:
    """The different names in alphabetical order, and the number of each."""
    return np.unique(np.array([name.encode() for name in names], dtype=np.bytes_), return_inverse=True)


def _listing(splits: Sequence[pa.Table], where: str) -> Listing:
    import pyarrow as pa

    known = [name for name in ("subset", "id", "label", "class") if all(name in one.column_names for one in splits)]
    split = pa.concat_tables([one.select(known) for one in splits])
    named = split.column("subset").to_pylist()
    subsets = list(dict.fromkeys(named))
    if "mean" in subsets:
        raise UserError(f"{where}: a subset is called 'mean', the name of the mean over subsets. Rename it.")
    numbers = {name: number for number, name in enumerate(subsets)}
    images, image = _numbered(split.column("id").to_pylist())
    label = split.column("label").to_numpy().astype(np.int64)
    folders = split.column("class").to_pylist() if "class" in known else [""] * len(label)
    folder = _numbered(folders)[1]
    first = np.zeros(len(images), np.int64)
    first[image] = label
    torn = np.flatnonzero(first[image] != label)
    if len(torn):
        first_torn = split.column("id")[int(torn[0])].as_py()[:12]
        raise UserError(
            f"{where}: image {first_torn} is listed both as real and as fake ({len(torn)} rows). Remove it from one of "
            "the folders."
        )
    subset = np.array([numbers[name] for name in named])
    source = np.repeat(np.arange(len(splits)), [len(one) for one in splits])
    return Listing(subsets, images, subset, image, label, folder, source)


def _images_seen(folder: Path) -> float:
    facts = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    return float(facts.get("images_seen", math.nan))


def _threshold_rule(metric: str, threshold: Threshold) -> str:
    if metric == "accuracy_oracle":
        return "oracle"
    rule = threshold if isinstance(threshold, str) else f"{threshold:g}"
    return rule if metric in (*THRESHOLDED, "accuracy_gain", "mcnemar_p") else "none"


def _scores(rows: Rows, listing: Listing, where: str) -> Scores:
    """Scores in the order of the listing, each checked to be there, once, and a probability.

    Raises:
        UserError: a score is no probability, or rows and listing differ.
    """
    wrong = np.flatnonzero(~((rows.score >= 0) & (rows.score <= 1)))
    if len(wrong):
        first = wrong[0]
        raise UserError(
            f"{where}: {len(wrong)} scores are no probabilities, first {rows.score[first]} of image "
            f"{rows.images[rows.image[first]][:12]} (seed {rows.seed[first]}). The training has probably diverged: "
            "lower its learning rate."
        )
    known = {name: number for number, name in enumerate(listing.subsets)}
    subset_of = np.array([known.get(name, -1) for name in rows.subsets])
    ids = np.array([name.encode() for name in rows.images], dtype=np.bytes_)
    place = np.minimum(np.searchsorted(listing.images, ids), len(listing.images) - 1)
    image_of = np.where(listing.images[place] == ids, place, -1)
    subset, image = subset_of[rows.subset], image_of[rows.image]
    keys = np.where((subset < 0) | (image < 0), -1, (subset * len(listing.images) + image) * 2 + rows.label)
    checkpoint = rows.seed * (int(rows.epoch.max()) + 1) + rows.epoch
    listed = listing.keys
    order = np.argsort(listed, kind="stable")
    found: Scores = {}
    for one in np.unique(checkpoint):
        at = np.flatnonzero(checkpoint == one)
        seed, epoch = int(rows.seed[at[0]]), int(rows.epoch[at[0]])
        scores = np.empty(len(listed), np.float32)
        if np.array_equal(keys[at], listed):
            scores[:] = rows.score[at]
        else:
            sorting = np.argsort(keys[at], kind="stable")
            if not np.array_equal(keys[at][sorting], listed[order]):
                raise UserError(f"{where}, seed {seed}, epoch {epoch}: {_difference(keys[at], listing)}")
            scores[order] = rows.score[at][sorting]
        found[seed, epoch] = scores
    return dict(sorted(found.items()))


def _difference(scored: Int[np.ndarray, " rows"], listing: Listing) -> str:
    """What is wrong with the rows of a checkpoint."""
    listed = listing.keys
    missing, extra = np.setdiff1d(listed, scored), np.setdiff1d(scored, listed)
    unlisted = int(np.count_nonzero(np.isin(scored, extra)))
    doubled = len(scored) - unlisted - len(np.setdiff1d(np.unique(scored), extra))
    example = f" First missing: {listing.named(int(missing[0]))} (subset/id/label)." if len(missing) else ""
    return (
        f"{len(listed)} images are listed and {len(scored)} scored; {len(missing)} listed images have no score, "
        f"{unlisted} scored images are not listed, {doubled} are scored twice.{example} Remove the scores file and "
        "score again."
    )


def _rivals(held: Scores, seeds: set[int], where: str) -> dict[int, Float[np.ndarray, " rows"]]:
    """The baseline's scores at its last epoch, by seed."""
    last = {seed: scores for (seed, _), scores in held.items()}
    if not seeds <= set(last):
        raise UserError(f"{where}: the baseline has no scores for seeds {sorted(seeds - set(last))}.")
    return {seed: last[seed] for seed in sorted(seeds)}


def _best_epochs(
    settings: dict,
    tests: dict[tuple[str, str], dict[str, pa.Table]],
    tables: dict[tuple[str, str], Rows],
) -> dict[int, int]:
    """The kept epoch of highest accuracy on the validation test set, the earliest of equals, by seed.

    Raises:
        UserError: the validation test set has no scores.
    """
    wanted = settings["validation"]
    if wanted is None:
        return {}
    names = [(name, pair) for pair, held in tests.items() for name in held]
    # a test set of several splits is listed as TEST.SPLIT
    fits = [pair for name, pair in names if name == wanted or name.startswith(f"{wanted}.")]
    pair = fits[0] if fits else None
    if pair is None or pair not in tables:
        listed = ", ".join(name for name, _ in names)
        raise UserError(f"{settings['run']}: the protocol's validation is {wanted!r}; this run is tested on {listed}.")
    where = f"{settings['run']} on {' / '.join(pair)}"
    listing = _listing(list(tests[pair].values()), where)
    parts = _parts(listing, settings, where)
    found: dict[int, tuple[float, int]] = {}
    for (seed, epoch), scores in _scores(tables[pair], listing, where).items():
        points = [curve(listing.label[part.rows], scores[part.rows]) for part in parts]
        reached = float(np.mean([accuracy(one, settings["threshold"]) for one in points]))
        if seed not in found or reached > found[seed][0]:
            found[seed] = (reached, epoch)
    return {seed: epoch for seed, (_, epoch) in found.items()}


def _parts(listing: Listing, settings: dict, where: str) -> list[Part]:
    """What is measured: subsets or their classes, with the reals and the sample that the protocol says.

    Raises:
        UserError: a subset that is not there, or a part of one class.
    """
    pooled = settings["pooled_reals"]
    pooled = {"none": [], "all": listing.subsets}.get(pooled, pooled) if isinstance(pooled, str) else pooled
    for name in pooled:
        choose(dict.fromkeys(listing.subsets), name, f"subset of pooled_reals in the protocol of {where}")
    real = np.flatnonzero(listing.label == 0)
    parts = []
    for number, subset in enumerate(listing.subsets):
        rows = np.flatnonzero(listing.subset == number)
        folder = listing.folder[rows]
        if subset in pooled:
            near = real[listing.split[real] == listing.split[rows[0]]]
            others = near[~np.isin(listing.image[near], listing.image[rows])]
            once = np.unique(listing.image[others], return_index=True)[1]
            rows = np.concatenate([rows, np.sort(others[once])])
            folder = np.zeros(len(rows), np.int64)  # reals from elsewhere belong to none of its classes
        sample = settings["sample"]
        if sample["per"] == "subset":
            rows, folder = _sampled(rows, folder, listing.label, sample)
        classes = [rows[folder == one] for one in np.unique(folder)]
        if sample["per"] == "class":
            classes = [_sampled(one, one, listing.label, sample)[0] for one in classes]
        for one in [np.concatenate(classes)] if settings["classes"] == "pooled" else classes:
            for value, what in ((0, "real"), (1, "fake")):
                if not np.any(listing.label[one] == value):
                    raise UserError(f"{where}: subset {subset!r} has no {what} images; the metrics need both classes.")
            if settings["batch"] is not None and len(one) < settings["batch"]:
                raise UserError(
                    f"{where}: subset {subset!r} has {len(one)} images, fewer than the protocol's batch of "
                    f"{settings['batch']}."
                )
            parts.append(Part(subset, one))
    return parts


def _sampled(
    rows: Int[np.ndarray, " rows"],
    folder: Int[np.ndarray, " rows"],
    labels: Int[np.ndarray, " listed"],
    sample: dict[str, Any],
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"]]:
    """The first rows of each label; a split is in the order of its seed, so they are a sample."""
    limit = sample["limit"]
    if limit is None:
        return rows, folder
    counts = [int(np.count_nonzero(labels[rows] == value)) for value in (0, 1)]
    if sample["fallback"] is not None and min(counts) < limit:
        limit = sample["fallback"]
    at = np.sort(np.concatenate([np.flatnonzero(labels[rows] == value)[:limit] for value in (0, 1)]))
    return rows[at], folder[at]


def _numbers(
    listing: Listing,
    held: Scores,
    rivals: dict[int, Float[np.ndarray, " rows"]],
    best: dict[int, int],
    settings: dict,
    where: str,
) -> list[tuple[tuple, tuple]]:
    """Every number of a test set: (seed, checkpoint, epoch, epochs, subset, metric) and its values."""
    parts = _parts(listing, settings, where)
    used, image = np.unique(np.concatenate([listing.image[part.rows] for part in parts]), return_inverse=True)
    label = np.zeros(len(used), np.int64)
    label[image] = np.concatenate([listing.label[part.rows] for part in parts])
    groups = strata(np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts]), image, label)
    images = np.split(image, np.cumsum([len(part.rows) for part in parts])[:-1])

    def cut(scores: Float[np.ndarray, " rows"]) -> list[Scored]:
        return [
            Scored(own, listing.label[part.rows], scores[part.rows]) for own, part in zip(images, parts, strict=True)
        ]

    sets = {at: cut(scores) for at, scores in held.items()}
    rival_sets = {seed: cut(scores) for seed, scores in rivals.items()}
    everything = [one for cuts in (*sets.values(), *rival_sets.values()) for one in cuts]
    # images are numbered in the order of their ids and the generator starts anew for every test set: equal
    # images have equal resamples under every seed, perturbation and run
    generator = np.random.default_rng(settings["seed"])
    rule = {"threshold": settings["threshold"], "batch": settings["batch"], "sampler": settings["sampler"]}
    drawn = iter(bootstrap(everything, groups, resamples=settings["resamples"], generator=generator, **rule))
    draws = {at: [next(drawn) for _ in parts] for at in sets}
    rival_draws = {seed: [next(drawn) for _ in parts] for seed in rival_sets}

    last = {seed: epoch for seed, epoch in held}
    measured: dict[tuple[int, int], Result] = {}
    for (seed, epoch), cuts in sets.items():
        for k, one in enumerate(cuts):
            point = _point(one, settings)
            if seed in rival_sets and epoch == last[seed]:
                rival = rival_sets[seed][k]
                _compare(point, draws[seed, epoch][k], one, rival, rival_draws[seed][k], settings)
            n_fake = int(one.labels.sum())
            result = measured.setdefault((seed, k), Result(len(one.labels) - n_fake, n_fake))
            result.points.append(point)
            result.draws.append(draws[seed, epoch][k])

    n_fake = int(label.sum())
    numbers = []
    for seed in last:
        by_subset: dict[str, list[Result]] = {}
        for k, part in enumerate(parts):
            by_subset.setdefault(part.subset, []).append(measured[seed, k])
        own = {subset: _together(results) for subset, results in by_subset.items()}
        own["mean"] = _mean(list(own.values()), len(used) - n_fake, n_fake)
        epochs = [epoch for at, epoch in held if at == seed]
        for subset, result in own.items():
            numbers += [
                ((seed, *head, subset, metric), (*value, result.n_real, result.n_fake))
                for head, metric, value in _rules(result, epochs, best.get(seed))
            ]
    return numbers


def _point(one: Scored, settings: dict) -> Numbers:
    """All metrics of one set of scores, without resampling."""
    if settings["batch"] is None:
        return measure(one.labels, one.scores, settings["threshold"])
    # anew for every set: equal images make equal batches under every checkpoint
    generator = np.random.default_rng([settings["seed"], 1])
    pools = [np.flatnonzero(one.labels == value) for value in (0, 1)]
    drawn = [drawn_batches(pools, settings["batch"], settings["sampler"], generator) for _ in range(PASSES)]
    batches = np.concatenate(drawn)
    return measure_batches(one.labels[batches], one.scores[batches], settings["threshold"])


def _together(results: list[Result]) -> Result:
    """A subset of one part as it is; of several classes, their mean."""
    if len(results) == 1:
        return results[0]
    return _mean(results, sum(one.n_real for one in results), sum(one.n_fake for one in results))


def _mean(results: list[Result], n_real: int, n_fake: int) -> Result:
    """The plain mean over subsets, draw by draw; a p-value has no mean."""

    def average(numbers: list[Numbers]) -> Numbers:
        names = [name for name in numbers[0] if name != "mcnemar_p"]
        return {name: np.mean([one[name] for one in numbers], axis=0) for name in names}

    epochs = range(len(results[0].points))
    points = [average([result.points[epoch] for result in results]) for epoch in epochs]
    draws = [average([result.draws[epoch] for result in results]) for epoch in epochs]
    return Result(n_real, n_fake, points, draws)


def _rules(
    result: Result, epochs: list[int], best: int | None
) -> list[tuple[tuple[str, int, int], str, tuple[float, ...]]]:
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
    if best is not None:
        add("best", [epochs.index(best)], METRICS)
    if len(epochs) > 1:
        add("mean", list(range(len(epochs))), METRICS)
        for k in range(len(epochs)):
            add("epoch", [k], METRICS)
    return found


def _compare(point: Numbers, drawn: Numbers, one: Scored, rival: Scored, rival_drawn: Numbers, settings: dict) -> None:
    """Add the paired comparison with a baseline to one checkpoint's numbers."""
    gain = point["accuracy"] - _point(rival, settings)["accuracy"]
    right, rival_right = (
        called_fake(scored.labels, scored.scores, settings["threshold"]) == (scored.labels == 1)
        for scored in (one, rival)
    )
    point |= {"accuracy_gain": gain, "mcnemar_p": np.asarray(mcnemar(right, rival_right))}
    drawn |= {"accuracy_gain": drawn["accuracy"] - rival_drawn["accuracy"]}
