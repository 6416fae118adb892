"""Where the scores of a detector come from: a run of a configuration, or files."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tellsign.errors import UserError
from tellsign.evaluation.listing import TEXTS, ScoreRows, TestName, rows_by_test
from tellsign.system.parquet import column, read_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from tellsign.plan.artifact import Artifact
    from tellsign.plan.plan import Plan

NUMBERS = {"seed": np.int64, "epoch": np.int64, "label": np.int64, "score": np.float64}
"""Columns of numbers, with their types in a CSV file."""

DEFAULTS = {"benchmark": "scores", "perturbation": "none", "subset": "all", "seed": "0", "epoch": "1"}
"""What stands for a column that a CSV file lacks; ``id``, ``label`` and ``score`` it must have."""


def scores_from(name: str, plan: Callable[[], Plan]) -> dict[TestName, ScoreRows]:
    """A detector's scores by test set.

    Args:
        name: A file of scores (Parquet as `score` writes it, or CSV), a folder of such files, or ``paper/run``.
        plan: Gives the configuration's plan; called for a run only.

    Raises:
        UserError: there is no such file and no such run, it has not been scored, or a file holds no scores.
    """
    place = Path(name)
    if place.exists():
        return rows_by_test(_table_of(_files_of(place)))
    if "/" not in name or place.suffix in (".parquet", ".csv"):
        raise UserError(
            f"there is no file or folder {name}. A detector is given as a run (paper/run, such as lol/direct), or as a "
            "file (.parquet, .csv) or folder of its scores."
        )
    known = plan()
    paper, _, run = name.partition("/")
    return rows_by_test(_table_of([_made(known, known.score(known.run(paper, run)), name)]))


def _made(plan: Plan, artifact: Artifact, name: str) -> Path:
    """Where a run's scores are.

    Raises:
        UserError: they are not there, or it cannot be told which are right.
    """
    weights, folders = plan.missing_inputs([artifact])
    if weights or folders:
        raise UserError(
            f"{name}: it cannot be told which scores are its, because they follow from what is not here: "
            f"{', '.join([*sorted(folders), *sorted(weights)])}. `tellsign doctor` says how to get it; or give the "
            "file of scores itself."
        )
    if not Path(artifact.path).exists():
        raise UserError(
            f"{name} has not been scored: there is no {artifact.path}. Make it by `snakemake --cores 2 "
            f"{artifact.path}`, with the same --configfile and --config."
        )
    return Path(artifact.path)


def _files_of(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    files = sorted(path for path in place.iterdir() if path.suffix in (".parquet", ".csv"))
    if not files:
        raise UserError(f"the folder {place} holds no scores: no .parquet and no .csv file.")
    return files


def _table_of(files: list[Path]) -> pa.Table:
    """The rows of several files as one table, texts as numbers."""
    import pyarrow as pa

    names = [*TEXTS, *NUMBERS]
    tables = []
    for path in files:
        table = _from_csv(path) if path.suffix == ".csv" else read_rows(path, codes=TEXTS)
        if lacking := [name for name in names if name not in table.column_names]:
            raise UserError(f"{path} holds no scores: it lacks the columns {', '.join(lacking)}.")
        if not len(table):
            raise UserError(f"{path} holds no scores: it has no rows.")
        tables.append(table.select(names))
    return pa.concat_tables(tables, promote_options="permissive")


def _from_csv(path: Path) -> pa.Table:
    """A CSV file with a header."""
    import pyarrow as pa

    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        header = list(reader.fieldnames or ())
        columns: Mapping[str, list[str]] = defaultdict(list)
        for row in reader:
            for name in (*TEXTS, *NUMBERS):
                columns[name].append(row[name] if name in header else DEFAULTS.get(name, ""))
    if lacking := [name for name in ("id", "label", "score") if name not in header]:
        raise UserError(
            f"{path} holds no scores: it lacks the columns {', '.join(lacking)}. It needs id, label (0 real, 1 fake) "
            f"and score (p(fake)); {', '.join(DEFAULTS)} may be left out."
        )
    arrays = [column(columns[name]).dictionary_encode() for name in TEXTS]
    for name, kind in NUMBERS.items():
        try:
            arrays.append(column(np.array(columns[name], kind)))
        except ValueError as problem:
            raise UserError(f"{path}, column {name}: {problem}.") from None
    return pa.Table.from_arrays(arrays, names=[*TEXTS, *NUMBERS])
