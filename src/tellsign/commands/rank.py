"""Rank detectors on the same images: which is where, and how surely.

    tellsign rank --table zoo-genimage --configfile config/zoo.yaml --config data=FOLDER
    tellsign rank lol/lol lol/direct mpft/tam --metric auc
    tellsign rank a.csv b.csv c.csv --out ranks.csv

A detector is a run, or a file or folder of scores, as `tellsign compare` takes it. For every test set that all of them
have, each is ranked by the mean of the metric over subsets and seeds, with the 95 % intervals of the metric and of the
rank and with how often it is above the next one: all under the same bootstrap resamples of the images that all of them
scored. The size is the count of numbers in a run's weights, without running statistics of normalisation; the speed is
what the log of the run's scoring says, on whatever machine that was. --out FILE.csv has how often each is above each
other.

The exit status is 0 when they were ranked, 2 when they cannot be.
"""

from __future__ import annotations

import functools
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tellsign.commands.configuration import plan_of
from tellsign.commands.rank_text import Ranking, as_csv, as_markdown
from tellsign.commands.rates import RATES, read_rates
from tellsign.commands.score_sources import scores_from
from tellsign.errors import UserError, choose
from tellsign.evaluation.listing import ScoreRows, TestName
from tellsign.evaluation.matching import align
from tellsign.evaluation.paired import METRICS as RANKED_BY
from tellsign.evaluation.ranks import places
from tellsign.evaluation.tally import Threshold
from tellsign.plan.plan import Plan
from tellsign.system.files import write_text

RESAMPLES = 1000
STATISTICS = re.compile(r".*\.(running_mean|running_var|num_batches_tracked)")
"""Tensors of weights that no training step moves."""
SCORED_IN = re.compile(r" scored: (?:\d+)/(?:\d+) in ([\d.]+) s")
"""What `tellsign.system.progress` says in the log of a scoring when it is through with a test set."""


def main(
    detectors: list[str] | None = None,
    *,
    table: str | None = None,
    metric: str = "accuracy",
    configfile: Path = Path("config/config.yaml"),
    config: list[str] | None = None,
    test: list[str] | None = None,
    threshold: float | None = None,
    resamples: int = RESAMPLES,
    out: Path | None = None,
) -> int:
    """Rank and tell; see the module.

    Args:
        detectors: Two or more: paper/run, or a file or folder of scores.
        table: The runs of this table as well, such as zoo-genimage.
        metric: accuracy, auc or ap_fake.
        configfile: The configuration of runs.
        config: KEY=VALUE, as for snakemake.
        test: BENCHMARK/PERTURBATION of the test sets; all that every detector has without it.
        threshold: A score above it is called fake; without it the configuration's for runs, else 0.5.
        resamples: Bootstrap resamples of the images.
        out: File to write as well: .md, the text; or .csv, every number.

    Raises:
        UserError: they cannot be ranked.
    """
    choose(dict.fromkeys(RANKED_BY), metric, "metric to rank by")
    if resamples < 1 or (threshold is not None and not 0 <= threshold <= 1):
        raise UserError(f"--resamples {resamples} --threshold {threshold}: at least 1, and a number from 0 to 1.")
    write = choose(WRITERS, out.suffix if out else ".md", "suffix of --out")
    plan = functools.cache(lambda: plan_of(configfile, config or []))
    names = list(dict.fromkeys([*(detectors or ()), *(runs_of_table(plan(), table) if table else ())]))
    if len(names) < 2:
        raise UserError(f"a ranking needs two detectors, got {', '.join(names) or 'none'}. Name more, or a --table.")
    scores = {name: scores_from(name, plan) for name in names}
    of_files = all(Path(name).exists() for name in names)
    rule: Threshold = threshold if threshold is not None else 0.5 if of_files else plan().config.evaluate.threshold
    runs = [name for name in names if not Path(name).exists()]
    sizes = dict.fromkeys(names, math.nan) | {name: size_of(plan(), name) for name in runs}
    speeds = dict.fromkeys(names, math.nan) | {name: speed_of(plan(), name, scores[name]) for name in runs}
    rankings = []
    for asked in common_tests(scores, test or []):
        held = align({name: tests[asked] for name, tests in scores.items()})
        found = places(held, metric, rule, resamples, np.random.default_rng(0))
        rankings.append(Ranking("/".join(asked), metric, found, sizes, speeds, held.left_out))
    sys.stdout.write(as_markdown(rankings))
    if out:
        write_text(out, write(rankings))
    return 0


def runs_of_table(plan: Plan, table: str) -> list[str]:
    """The runs that a table names.

    Raises:
        UserError: there is no such table.
    """
    known = {f"{key}-{name}": (key, spec) for key, paper in plan.papers.items() for name, spec in paper.tables.items()}
    return [run.full_name for run in plan.runs_in(*choose(known, table, "table"))]


def common_tests(scores: Mapping[str, Mapping[TestName, ScoreRows]], asked: Sequence[str]) -> list[TestName]:
    """The test sets that all detectors have, or of these the ones that are asked for.

    Raises:
        UserError: they have none in common, or one that is asked for is not there.
    """
    first, *others = scores.values()
    shared = {"/".join(test): test for test in first if all(test in other for other in others)}
    if not shared:
        listed = "; ".join(f"{name}: {', '.join('/'.join(test) for test in own)}" for name, own in scores.items())
        raise UserError(f"the detectors have no test set in common. {listed}.")
    return [choose(shared, name, "test set of all detectors") for name in asked or shared]


def size_of(plan: Plan, name: str) -> float:
    """Numbers in the weights of a run's first seed, with those that its checkpoint leaves in their own file.

    Returns:
        NaN where the checkpoint is not there, or the size of what it leaves out is not known.
    """
    paper, _, short = name.partition("/")
    run = plan.run(paper, short)
    path = Path(plan.checkpoint(run, run.seeds[0]).path) / "model.safetensors"
    if not path.is_file():
        return math.nan
    count, left_out = stored_numbers(path)
    if left_out is None:
        return count
    sizes = read_rates(plan.configuration.folder / RATES).networks
    return count + sizes[left_out].parameters if left_out in sizes else math.nan


def stored_numbers(path: Path) -> tuple[float, str | None]:
    """How many numbers a checkpoint holds, without running statistics, and the network that it leaves out, if any."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        names = [name for name in list(file.keys()) if not STATISTICS.fullmatch(name)]
        shapes = [file.get_slice(name).get_shape() for name in names]
        base = (file.metadata() or {}).get("base")
    return float(sum(math.prod(shape) for shape in shapes)), None if base is None else json.loads(base)["network"]


def speed_of(plan: Plan, name: str, scores: Mapping[TestName, ScoreRows]) -> float:
    """Images a second of a run's scoring, as its log says; an image counts for each checkpoint and test set.

    Returns:
        NaN where the log is not there, as where the scores were made elsewhere.
    """
    paper, _, short = name.partition("/")
    made = plan.score(plan.run(paper, short))
    log = Path("logs") / made.stage / f"{made.name}.{made.fingerprint}.log"
    if not log.is_file():
        return math.nan
    seconds = sum(map(float, SCORED_IN.findall(log.read_text(encoding="utf-8", errors="replace"))))
    of_tests = (np.stack([rows.seed, rows.epoch, rows.image]) for rows in scores.values())
    images = sum(np.unique(one, axis=1).shape[1] for one in of_tests)
    return images / seconds if seconds > 0 else math.nan


WRITERS: dict[str, Callable[[Sequence[Ranking]], str]] = {".md": as_markdown, ".csv": as_csv}
