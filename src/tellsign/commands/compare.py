"""Compare two detectors on the same images: which is better, by how much, and whether chance explains it.

    tellsign compare lol/lol lol/direct                              two runs of config/config.yaml
    tellsign compare lol/lol mpft/tam --configfile config/paper.yaml --config data=FOLDER
    tellsign compare mine.csv data/score/lol/lol.0123456789ab.parquet --out compared.md

A detector is a run (paper/run), or its scores: a Parquet file as the stage `score` writes it; a CSV file with the
columns id, label (0 real, 1 fake) and score (p(fake)), and perhaps subset, benchmark, perturbation, seed and epoch; or
a folder of such files. Of each seed the last epoch counts.

For every test set, and there for every subset, the mean over subsets and all images pooled, it says the difference in
accuracy, AUC and average precision with its 95 % interval (paired bootstrap over the images), and McNemar's exact test
of accuracy, corrected for the number of subsets by Holm's method; then in words what holds and what is not decided.
Images that only one of the two scored are counted and named, and left out of both. docs/compare.md explains the
columns.

The exit status is 0 when both were compared, 2 when they cannot be.
"""

from __future__ import annotations

import csv
import functools
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tellsign.commands.compare_text import Compared, as_markdown
from tellsign.commands.configuration import plan_of
from tellsign.commands.score_sources import scores_from
from tellsign.errors import UserError, choose
from tellsign.evaluation.listing import ScoreRows, TestName
from tellsign.evaluation.matching import match
from tellsign.evaluation.paired import differences
from tellsign.evaluation.tally import Threshold
from tellsign.system.files import write_text

RESAMPLES = 1000


def main(
    a: str,
    b: str,
    *,
    configfile: Path = Path("config/config.yaml"),
    config: list[str] | None = None,
    test: list[str] | None = None,
    seed: list[int] | None = None,
    threshold: float | None = None,
    resamples: int = RESAMPLES,
    out: Path | None = None,
) -> int:
    """Compare and tell; see the module.

    Args:
        a: The first detector: paper/run, or a file or folder of scores.
        b: The second one.
        configfile: The configuration of runs.
        config: KEY=VALUE, as for snakemake.
        test: BENCHMARK/PERTURBATION of the test sets to compare on; all without it.
        seed: Seeds to compare; all without it.
        threshold: A score above it is called fake; without it the configuration's for runs, else 0.5.
        resamples: Bootstrap resamples of the images.
        out: File to write as well: .md, the text; or .csv, every number, by seed.

    Raises:
        UserError: the two cannot be compared.
    """
    if a == b:
        raise UserError(f"both are {a}. Give two detectors.")
    if resamples < 1 or (threshold is not None and not 0 <= threshold <= 1):
        raise UserError(f"--resamples {resamples} --threshold {threshold}: at least 1, and a number from 0 to 1.")
    write = choose(WRITERS, out.suffix if out else ".md", "suffix of --out")
    plan = functools.cache(lambda: plan_of(configfile, config or []))
    first, second = (scores_from(name, plan) for name in (a, b))
    of_files = all(Path(name).exists() for name in (a, b))
    rule: Threshold = threshold if threshold is not None else 0.5 if of_files else plan().config.evaluate.threshold
    compared = []
    for name in shared_tests(first, second, (a, b), test or []):
        rows = [chosen_seeds(scores[name], seed or []) for scores in (first, second)]
        check_seeds(rows[0], rows[1], (a, b), "/".join(name))
        matched = match(rows[0], rows[1], (a, b))
        lines = differences(matched, rule, resamples, np.random.default_rng(0))
        compared.append(Compared("/".join(name), (a, b), rule, matched, lines))
    sys.stdout.write(as_markdown(compared))
    if out:
        write_text(out, write(compared))
    return 0


def shared_tests(
    first: Mapping[TestName, ScoreRows],
    second: Mapping[TestName, ScoreRows],
    names: tuple[str, str],
    asked: Sequence[str],
) -> list[TestName]:
    """The test sets to compare on.

    Raises:
        UserError: the two have different ones, or one that is asked for is not there.
    """
    sets = [{"/".join(test): test for test in scores} for scores in (first, second)]
    if asked:
        for name, known in zip(names, sets, strict=True):
            for test in asked:
                choose(known, test, f"test set of {name}")
        return [sets[0][test] for test in dict.fromkeys(asked)]
    if sets[0].keys() != sets[1].keys():
        listed = "; ".join(f"{name}: {', '.join(sorted(known))}" for name, known in zip(names, sets, strict=True))
        both = sorted(sets[0].keys() & sets[1].keys())
        mend = f"Compare on what both have: --test {' '.join(both)}" if both else "They have none in common"
        raise UserError(f"the two were scored on different test sets. {listed}. {mend}.")
    return list(first)


def chosen_seeds(rows: ScoreRows, seeds: Sequence[int]) -> ScoreRows:
    """Rows of some seeds; all where none is named."""
    if not seeds:
        return rows
    kept = np.isin(rows.seed, seeds)
    columns = {name: getattr(rows, name)[kept] for name in ("seed", "epoch", "subset", "image", "label", "score")}
    return ScoreRows(rows.subsets, rows.images, **columns)


def check_seeds(first: ScoreRows, second: ScoreRows, names: tuple[str, str], test: str) -> None:
    """Whether both have the same seeds, and any.

    Raises:
        UserError: they have not.
    """
    seeds = [np.unique(rows.seed).tolist() for rows in (first, second)]
    if seeds[0] != seeds[1] or not seeds[0]:
        listed = "; ".join(
            f"{name}: {', '.join(map(str, own)) or 'none'}" for name, own in zip(names, seeds, strict=True)
        )
        both = sorted(set(seeds[0]) & set(seeds[1]))
        mend = f"Compare those that both have: --seed {' '.join(map(str, both))}" if both else "None is in both"
        raise UserError(f"{test}: the two have different seeds. {listed}. {mend}.")


def as_csv(compared: Sequence[Compared]) -> str:
    """Every number, by seed; what only one detector scored, in rows of its own."""
    out = io.StringIO()
    fields = ["test", "a", "b", "threshold", *asdict(compared[0].lines[0]), "note"]
    writer = csv.DictWriter(out, fields, lineterminator="\n", restval="")
    writer.writeheader()
    for one in compared:
        head = {"test": one.test, "a": one.names[0], "b": one.names[1], "threshold": one.threshold}
        for line in one.lines:
            known = {name: value for name, value in asdict(line).items() if value is not None}
            writer.writerow(head | known | {"seed": "mean" if line.seed is None else line.seed})
        for name, places in zip(one.names, (one.matched.only_first, one.matched.only_second), strict=True):
            for subset, image in places:
                writer.writerow(head | {"subset": subset, "note": f"only {name} scored {image}"})
    return out.getvalue()


WRITERS: dict[str, Callable[[Sequence[Compared]], str]] = {".md": as_markdown, ".csv": as_csv}
