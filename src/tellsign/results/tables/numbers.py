"""The numbers of a table: ours from the metrics of the runs, the printed ones, and their differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tellsign.errors import UserError, choose
from tellsign.results.published import KEYS, Quoted, lookup, mean
from tellsign.results.tables.document import Number
from tellsign.results.tables.specification import NUMBER_KEYS, Slice, Spec, numbers_of_cell, runs_of

PRINTED = {"accuracy": "accuracy", "ap_fake": "ap", "ap_real": "ap"}
"""Name of a metric among the printed numbers. The papers do not say for which class they compute AP."""


class Measured:
    """Metrics rows, found by what a cell selects.

    Args:
        rows: rows of the metrics files, as `tellsign.stages.evaluate` writes them.
        paper: the paper whose runs need no prefix.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], paper: str) -> None:
        self.paper = paper
        self.runs: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            self.runs.setdefault(f"{row['paper']}/{row['run']}", []).append(row)

    def full_name(self, run: str) -> str:
        """A run's name with its paper's."""
        return run if "/" in run else f"{self.paper}/{run}"

    def find(self, run: str, select: Mapping[str, Any], metric: str) -> list[Mapping[str, Any]]:
        """The rows of one cell, one a seed.

        Raises:
            UserError: nothing fits; the message names the first key that fails and its near miss.
        """
        full = self.full_name(run)
        rows = choose(self.runs, full, "run in the metrics")
        wanted = {key: select[key] for key in NUMBER_KEYS} | {"metric": metric}
        return sorted(numbers_of_cell(rows, wanted, f"run {full}"), key=lambda row: row["seed"])

    def subsets(self, run: str, select: Mapping[str, Any], metric: str) -> list[str]:
        """The subsets of a run's test set, in the order of its metrics."""
        benchmark = self.find(run, {**select, "subset": "mean"}, metric)[0]["benchmark"]
        named = [row["subset"] for row in self.runs[self.full_name(run)] if row["benchmark"] == benchmark]
        return [name for name in dict.fromkeys(named) if name != "mean"]


def _joined(rows: Iterable[Mapping[str, Any]], key: str) -> str:
    return "; ".join(dict.fromkeys(str(row[key]) for row in rows))


def summarise(measured: Measured, runs: Sequence[str], select: Mapping[str, Any], metric: str, spread: str) -> Number:
    """One number of ours: the mean over seeds (of the mean over runs) in percent.

    ``sd`` is the standard deviation over seeds (n - 1; NaN for one seed) or the mean spread over epochs.
    ``low`` and ``high`` are the means over seeds of the interval's ends: they speak of the test images alone.

    Raises:
        UserError: a run without such metrics, or runs of different seeds.
    """
    by_run = [measured.find(run, select, metric) for run in runs]
    seeds = [row["seed"] for row in by_run[0]]
    for run, rows in zip(runs, by_run, strict=True):
        if [row["seed"] for row in rows] != seeds:
            raise UserError(f"runs {runs[0]} and {run} share a cell but were trained with different seeds.")
    everything = [row for rows in by_run for row in rows]

    def percent(key: str) -> float:
        return 100 * statistics.fmean(row[key] for row in everything)

    by_seed = [100 * statistics.fmean(rows[k]["value"] for rows in by_run) for k in range(len(seeds))]
    over_seeds = statistics.stdev(by_seed) if len(by_seed) > 1 else math.nan
    first = everything[0]
    return Number(
        row="",
        column="",
        source="ours",
        value=statistics.fmean(by_seed),
        metric=metric,
        sd=percent("spread") if spread == "epochs" else over_seeds,
        low=percent("low"),
        high=percent("high"),
        seeds=len(seeds),
        run="; ".join(runs),
        checkpoint=first["checkpoint"],
        epochs=first["epochs"],
        n_real=first["n_real"],
        n_fake=first["n_fake"],
        images_seen=sum(statistics.fmean(row["images_seen"] for row in rows) for rows in by_run),
        **{
            key: _joined(everything, key)
            for key in ("benchmark", "subset", "perturbation", "threshold_rule", "recipe", "code", "data", "protocol")
        },
    )


@dataclass(frozen=True)
class Cell:
    """What stands at a row, column and metric: ours, the printed number, or neither."""

    ours: Number | None
    quoted: Quoted | None

    @property
    def delta(self) -> float:
        """Ours less the printed number in percentage points; NaN without one, or where the paper contradicts it."""
        if self.ours is None or self.quoted is None or self.quoted.contradicted:
            return math.nan
        return self.ours.value - self.quoted.number


@dataclass
class Cells:
    """The cells of a specification; every number that was looked up is kept for the CSV, once."""

    spec: Spec
    measured: Measured
    published: Sequence[Quoted]
    numbers: dict[tuple[str, ...], Number] = field(default_factory=dict)

    def at(self, row: Slice, column: Slice, metric: str) -> Cell:
        """Find the numbers of a cell and keep them."""
        select = {**self.spec.select, **column.select, **row.select}
        if self.spec.run_at:
            select["run"] = self.spec.run_at.get((row.label, column.group or column.label))
        runs = runs_of(select)
        ours = summarise(self.measured, runs, select, metric, self.spec.spread) if runs else None
        cell = Cell(ours, self.printed(row, column, metric))
        if ours:
            self.keep(row, column, ours)
        if cell.quoted:
            self.keep_printed(row, column, cell.quoted, metric)
        if ours and self.spec.comparable and not math.isnan(cell.delta):
            nothing = {"sd": math.nan, "low": math.nan, "high": math.nan}
            self.keep(row, column, replace(ours, source="delta", value=cell.delta, **nothing))
        return cell

    def keep(self, row: Slice, column: Slice, number: Number) -> None:
        """Keep a number, once."""
        names = (row.full_name, column.full_name)
        number = replace(number, row=names[0], column=names[1])
        if not self.spec.cost:
            number = replace(number, images_seen=math.nan)
        self.numbers.setdefault((*names, number.source, number.metric, number.printed), number)

    def keep_printed(self, row: Slice, column: Slice, quoted: Quoted, metric: str) -> None:
        """Keep a printed number."""
        printed = " / ".join(part for part in (getattr(quoted, key) for key in KEYS) if part)
        number = Number("", "", "quoted", quoted.number, metric, sd=quoted.spread, subset=quoted.subset)
        self.keep(row, column, replace(number, printed=printed, note=quoted.note))

    def printed(self, row: Slice, column: Slice, metric: str) -> Quoted | None:
        """The printed number of a cell, if its table, row and column name one.

        Raises:
            UserError: they do not say where it stands, or it is not there.
        """
        if self.spec.quoted is None or row.quoted is None or column.quoted is None or metric not in PRINTED:
            return None
        key = {"setting": "", "subset": "Avg", "metric": PRINTED[metric]}
        key |= {**self.spec.quoted, **column.quoted, **row.quoted}
        for name in ("artifact", "method"):
            if name not in key:
                raise UserError(f"table {self.spec.name}, row {row.label}: quoted needs {name!r}.")
        artifact = [quoted for quoted in self.published if quoted.artifact == key["artifact"]]
        subsets = {quoted.subset for quoted in artifact if quoted.metric == key["metric"]}
        if artifact and not subsets:
            return None  # the paper's table does not print this metric at all
        if key["subset"] == "Avg" and subsets and "Avg" not in subsets:
            return mean(self.published, **{name: key[name] for name in KEYS if name != "subset"})
        return lookup(self.published, **key)
