"""What was measured of runs: found by what a cell selects, averaged and subtracted seed by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tellsign.errors import UserError, choose
from tellsign.results.tables.specification import NUMBER_KEYS, left_out, numbers_of_cell

Rows = list[Mapping[str, Any]]
"""Rows of metrics files, as `tellsign.stages.evaluate` writes them."""


@dataclass(frozen=True)
class OfSeed:
    """A number of one seed, in percent or, of a difference, percentage points.

    Attributes:
        seed: The seed.
        value: The number.
        low, high: Its 95 % interval over test images.
        sd_epochs: Standard deviation over the kept epochs; NaN where the number is of one epoch.
    """

    seed: int
    value: float
    low: float
    high: float
    sd_epochs: float = math.nan


class Measured:
    """Metrics rows, found by what a cell selects.

    Args:
        rows: rows of the metrics files, as `tellsign.stages.evaluate` writes them.
        paper: the paper whose runs need no prefix.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], paper: str) -> None:
        self.paper = paper
        self.runs: dict[str, Rows] = {}
        for row in rows:
            self.runs.setdefault(f"{row['paper']}/{row['run']}", []).append(row)

    def full_name(self, run: str) -> str:
        """A run's name with its paper's."""
        return run if "/" in run else f"{self.paper}/{run}"

    def find(self, run: str, select: Mapping[str, Any], metric: str) -> Rows:
        """The rows of one run and subset, one a seed; of the checkpoint rule ``worst`` one a seed and kept epoch.

        Raises:
            UserError: nothing fits; the message names the first key that fails and its near miss.
        """
        full = self.full_name(run)
        rows = choose(self.runs, full, "run in the metrics")
        wanted = {key: select[key] for key in NUMBER_KEYS} | {"metric": metric}
        return sorted(numbers_of_cell(rows, wanted, f"run {full}"), key=lambda row: (row["seed"], row["epoch"]))

    def subsets(self, run: str, select: Mapping[str, Any], metric: str) -> list[str]:
        """The subsets of a run's test set, in the order of its metrics."""
        benchmark = self.find(run, {**select, "subset": "mean"}, metric)[0]["benchmark"]
        named = [row["subset"] for row in self.runs[self.full_name(run)] if row["benchmark"] == benchmark]
        return [name for name in dict.fromkeys(named) if name != "mean"]

    def averaged(self, runs: Sequence[str], select: Mapping[str, Any], metric: str) -> list[Rows]:
        """The rows that a number is the plain mean of: of every run and, where some are left out, of every subset.

        Raises:
            UserError: nothing fits, or no subset is left.
        """
        out = left_out(select)
        if not out:
            return [self.find(run, select, metric) for run in runs]
        rows = []
        for run in runs:
            tested = self.subsets(run, select, metric)
            left = [name for name in tested if name not in out]
            if not left:
                raise UserError(f"run {self.full_name(run)}: without {', '.join(out)} no subset is left.")
            rows += [self.find(run, {**select, "subset": name}, metric) for name in left]
        return rows


def of_seeds(averaged: Sequence[Rows]) -> list[OfSeed]:
    """The plain mean, seed by seed; of several epochs the one with the lowest mean, with its interval.

    The ends of an interval are means of ends, which is cautious: it takes the parts for fully dependent.

    Args:
        averaged: What `Measured.averaged` found.

    Raises:
        UserError: runs of different seeds, or of different numbers of kept epochs.
    """
    grouped: list[dict[int, Rows]] = []
    for rows in averaged:
        by_seed: dict[int, Rows] = {}
        for row in rows:
            by_seed.setdefault(row["seed"], []).append(row)
        grouped.append(by_seed)
    first = averaged[0][0]["run"]
    for rows, by_seed in zip(averaged, grouped, strict=True):
        if by_seed.keys() != grouped[0].keys():
            raise UserError(f"runs {first} and {rows[0]['run']} share a cell but were trained with different seeds.")
        if any(len(by_seed[seed]) != len(grouped[0][seed]) for seed in by_seed):
            raise UserError(f"runs {first} and {rows[0]['run']} share a cell but kept different numbers of epochs.")
    result = []
    for seed in grouped[0]:
        epochs = zip(*(by_seed[seed] for by_seed in grouped), strict=True)
        result.append(min((_mean(seed, rows) for rows in epochs), key=lambda one: one.value))
    return result


def _mean(seed: int, rows: Sequence[Mapping[str, Any]]) -> OfSeed:
    keys = ("value", "low", "high", "spread")
    return OfSeed(seed, *(100 * statistics.fmean(row[key] for row in rows) for key in keys))


def differences(these: Sequence[OfSeed], those: Sequence[OfSeed]) -> list[OfSeed]:
    """These less those, over the seeds that both have.

    The interval follows from the intervals of both by the method of variance estimates recovery for independent
    estimates (Zou and Donner 2008, Statistics in Medicine 27, equations 9 and 10): the distances from the values to
    the ends that face each other, added as squares. Numbers from the same test images rise and fall together, so the
    interval is then too wide rather than too narrow.

    Raises:
        UserError: they have no seed in common.
    """
    other = {one.seed: one for one in those}
    pairs = [(one, other[one.seed]) for one in these if one.seed in other]
    if not pairs:
        seeds = [", ".join(str(one.seed) for one in side) for side in (these, those)]
        raise UserError(f"a difference needs a seed that both sides have; they have {seeds[0]} and {seeds[1]}.")
    return [
        OfSeed(
            one.seed,
            (gain := one.value - two.value),
            gain - math.hypot(one.value - one.low, two.high - two.value),
            gain + math.hypot(one.high - one.value, two.value - two.low),
        )
        for one, two in pairs
    ]
