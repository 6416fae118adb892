"""Write one CSV file of the tested images: path, subset, label, and the score of every run.

    tellsign scores --configfile config/folder.yaml --config root=PATH train=SUBSET --out scores.csv
    tellsign scores --run lol/lol mpft/tam --out scores.csv           of two runs of config/config.yaml

A score is p(fake), the mean over the run's seeds, each at its last epoch. Test sets with a perturbation are left out,
and so are runs that have not been scored yet; those are named. An image that several subsets share has a row in each.
An empty cell is an image that the run was not tested on.

The exit status is 0 when every run has been scored, 1 when some have not, 2 when the question itself is wrong.
"""

from __future__ import annotations

import csv
import io
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from tellsign.commands.configuration import plan_of
from tellsign.errors import UserError, choose
from tellsign.plan.artifact import Artifact
from tellsign.plan.plan import Plan
from tellsign.system.files import write_text
from tellsign.system.parquet import read_rows


class Image(NamedTuple):
    """An image of a subset: benchmark, subset, label (0 real, 1 fake), path of its file, id."""

    benchmark: str
    subset: str
    label: int
    path: str
    id: str


def main(
    *,
    configfile: Path = Path("config/config.yaml"),
    config: list[str] | None = None,
    run: list[str] | None = None,
    out: Path | None = None,
) -> int:
    """Collect and write; see the module.

    Args:
        configfile: The configuration.
        config: KEY=VALUE, as for snakemake.
        run: PAPER/NAME of the runs; all without it.
        out: The CSV file; standard output without it.

    Raises:
        UserError: no run has been scored.
    """
    plan = plan_of(configfile, config or [])
    runs = [choose(plan.runs, name, "run") for name in run] if run else list(plan.runs.values())
    artifacts = {one.full_name: plan.score(one) for one in runs}
    there = {name: artifact for name, artifact in artifacts.items() if Path(artifact.path).exists()}
    absent = [name for name in artifacts if name not in there]
    if not there:
        raise UserError(
            f"none of the {len(artifacts)} runs of {configfile} has been scored. Make them by `snakemake --cores 2 "
            f"tables --configfile {configfile}`, with the same --config."
        )
    text = as_csv(*collected(plan, there))
    if out:
        write_text(out, text)
    else:
        sys.stdout.write(text)
    if absent:
        sys.stderr.write(f"not scored yet, and left out: {', '.join(absent)}\n")
    return 1 if absent else 0


def collected(plan: Plan, artifacts: dict[str, Artifact]) -> tuple[list[str], dict[Image, dict[str, float]]]:
    """Names of the runs, and the scores of every image that one of them was tested on, by run."""
    scores: dict[Image, dict[str, float]] = defaultdict(dict)
    for name, artifact in artifacts.items():
        found = mean_scores(Path(artifact.path))
        for image in tested_images(artifact):
            scores[image][name] = found[image.benchmark, image.subset, image.id]
    return list(artifacts), dict(sorted(scores.items()))


def tested_images(artifact: Artifact) -> list[Image]:
    """The images of a run's test sets without perturbation."""
    images = []
    for test, split in artifact.needs["splits"]:
        facts = artifact.settings["tests"][test]
        if facts["perturbation"] != "none":
            continue
        index = split.needs["index"][0][1]
        roots = {**index.roots, **{key: made.path for key, made in index.needs.get("made", ())}}
        rows = read_rows(Path(split.path), ("subset", "label", "root", "path", "id")).to_pylist()
        images += [
            Image(facts["benchmark"], row["subset"], row["label"], f"{roots[row['root']]}/{row['path']}", row["id"])
            for row in rows
        ]
    return images


def mean_scores(path: Path) -> dict[tuple[str, str, str], float]:
    """Score by benchmark, subset and image, without perturbation: the mean over seeds, each at its last epoch."""
    rows = [row for row in read_rows(path).to_pylist() if row["perturbation"] == "none"]
    last: dict[int, int] = {}
    for row in rows:
        last[row["seed"]] = max(last.get(row["seed"], 0), row["epoch"])
    by_image: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row["epoch"] == last[row["seed"]]:
            by_image[row["benchmark"], row["subset"], row["id"]].append(row["score"])
    return {image: statistics.fmean(scores) for image, scores in by_image.items()}


def as_csv(runs: list[str], scores: dict[Image, dict[str, float]]) -> str:
    """A row an image of a subset, a column a run."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "benchmark", "subset", "label", *runs])
    for image, by_run in scores.items():
        cells = [f"{by_run[name]:.6f}" if name in by_run else "" for name in runs]
        writer.writerow([image.path, image.benchmark, image.subset, ("real", "fake")[image.label], *cells])
    return out.getvalue()
