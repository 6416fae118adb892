"""The numbers of a table: ours from the metrics of the runs, the printed ones, and their differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tellsign.errors import UserError
from tellsign.results.published import KEYS, Quoted, lookup, mean
from tellsign.results.tables.document import Number
from tellsign.results.tables.measured import Measured, Rows, differences, of_seeds
from tellsign.results.tables.specification import Slice, Spec, left_out, released, runs_of, subtracted

PRINTED = {"accuracy": "accuracy", "ap_fake": "ap", "ap_real": "ap"}
"""Name of a metric among the printed numbers. The papers do not say for which class they compute AP."""


def summarise(measured: Measured, select: Mapping[str, Any], metric: str) -> Number:
    """One number of ours: the mean over seeds (of the mean over runs) in percent, less another where it says so.

    ``sd`` is the standard deviation over seeds (n - 1; NaN for one seed), ``sd_epochs`` the mean over seeds of the
    deviation over the kept epochs, ``least_epoch`` the mean over seeds of the lowest of them; both NaN where the
    number is of one epoch. ``low`` and ``high`` are the means over seeds of the interval's ends: they speak of the
    test images alone.

    Raises:
        UserError: a run without such metrics, or runs of different seeds.
    """
    runs = runs_of(select)
    averaged = measured.averaged(runs, select, metric)
    seeds, everything, names = of_seeds(averaged), [*averaged], "; ".join(runs)
    if (other := subtracted(select)) is not None:
        others = measured.averaged(runs_of(other), other, metric)
        seeds, everything = differences(seeds, of_seeds(others)), [*everything, *others]
        names += f" less {'; '.join(runs_of(other))}"
    least = math.nan
    if select["checkpoint"] == "mean" and other is None:
        epochs = measured.averaged(runs, {**select, "checkpoint": "worst"}, metric)
        least = statistics.fmean(one.value for one in of_seeds(epochs))
    by_seed = tuple(one.value for one in seeds)
    rows = [row for rows in everything for row in rows]
    images = {(row["n_real"], row["n_fake"]) for row in rows}
    n_real, n_fake = images.pop() if len(images) == 1 and not left_out(select) else (0, 0)
    return Number(
        row="",
        column="",
        source="ours",
        value=statistics.fmean(by_seed),
        metric=metric,
        sd=statistics.stdev(by_seed) if len(by_seed) > 1 else math.nan,
        sd_epochs=statistics.fmean(one.sd_epochs for one in seeds),
        least_epoch=least,
        low=statistics.fmean(one.low for one in seeds),
        high=statistics.fmean(one.high for one in seeds),
        seeds=len(seeds),
        by_seed=by_seed,
        run=names,
        subset=_subset_text(select, other),
        checkpoint=select["checkpoint"],
        epochs=_epochs(averaged[0]) if select["checkpoint"] == "worst" else averaged[0][0]["epochs"],
        n_real=n_real,
        n_fake=n_fake,
        images_seen=sum(_cost(rows) for rows in everything),
        **{
            key: _joined(rows, key)
            for key in ("benchmark", "perturbation", "threshold_rule", "recipe", "code", "data", "protocol")
        },
    )


def _epochs(rows: Rows) -> int:
    return len({row["epoch"] for row in rows})


def _cost(rows: Rows) -> float:
    return statistics.fmean(row["images_seen"] for row in rows)


def _joined(rows: Rows, key: str) -> str:
    return "; ".join(dict.fromkeys(str(row[key]) for row in rows))


def _subset_text(select: Mapping[str, Any], other: Mapping[str, Any] | None) -> str:
    """The subset of a number in words: ``mean without biggan``."""
    texts = [
        f"{one['subset']} without {', '.join(out)}" if (out := left_out(one)) else str(one["subset"])
        for one in (select, other)
        if one is not None
    ]
    return " less ".join(dict.fromkeys(texts))


@dataclass(frozen=True)
class Cell:
    """What stands at a row, column and metric, each as far as there is one.

    Attributes:
        ours: The number of what is trained here.
        quoted: The printed one.
        released: That of a released checkpoint, scored here.
    """

    ours: Number | None
    quoted: Quoted | None
    released: Number | None = None

    @property
    def delta(self) -> float:
        """Ours less the printed number in percentage points; NaN without one, or where the paper contradicts it."""
        return self._less_printed(self.ours)

    @property
    def released_delta(self) -> float:
        """The same of the released checkpoint."""
        return self._less_printed(self.released)

    @property
    def retraining(self) -> float:
        """Ours less the released checkpoint's in percentage points; NaN unless both come from the same test images."""
        if self.ours is None or self.released is None or not _same_test(self.ours, self.released):
            return math.nan
        return self.ours.value - self.released.value

    def _less_printed(self, own: Number | None) -> float:
        if own is None or self.quoted is None or self.quoted.contradicted:
            return math.nan
        return own.value - self.quoted.number


def _same_test(one: Number, other: Number) -> bool:
    """Whether two numbers come from as many images of the same test set, and from the same protocol."""
    keys = ("benchmark", "subset", "perturbation", "n_real", "n_fake", "protocol", "threshold_rule")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


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
        ours = summarise(self.measured, select, metric) if runs_of(select) else None
        beside = released(select)
        theirs = replace(summarise(self.measured, beside, metric), source="released") if beside else None
        cell = Cell(ours, self.printed(row, column, metric), theirs)
        for number in filter(None, (ours, theirs)):
            self.keep(row, column, number)
        if cell.quoted:
            self.keep_printed(row, column, cell.quoted, metric)
        self.keep_differences(row, column, cell)
        return cell

    def keep_differences(self, row: Slice, column: Slice, cell: Cell) -> None:
        """Keep what a cell's numbers differ by, those from printed numbers where they may be compared."""
        unknown = dict.fromkeys(("sd", "sd_epochs", "least_epoch", "low", "high"), math.nan)
        printed = self.spec.comparable
        for source, of, value in (
            ("delta", cell.ours, cell.delta if printed else math.nan),
            ("released delta", cell.released, cell.released_delta if printed else math.nan),
            ("ours less released", cell.ours, cell.retraining),
        ):
            if of and not math.isnan(value):
                self.keep(row, column, replace(of, source=source, value=value, by_seed=(), **unknown))

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
        gain = " gain" if row.select.get("less") else ""
        key = {"setting": "", "subset": "Avg", "metric": PRINTED[metric] + gain}
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
