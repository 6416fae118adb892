"""The metrics that a figure may draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tellsign.errors import UserError, choose, near_miss
from tellsign.results.figures.page import metric_factor
from tellsign.system.parquet import read_rows

CELL = ("benchmark", "perturbation", "checkpoint")
"""Which of a run's metrics are drawn (null: any); a panel and then a row may say otherwise."""


class Metrics:
    """The rows of evaluate that a figure may draw."""

    def __init__(self, paths: Sequence[Path], spec: Mapping[str, Any]) -> None:
        import pyarrow as pa

        if not paths:
            raise UserError(f"figure {spec['name']!r} ({spec['kind']}) needs metrics; none were given.")
        self.spec = spec
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.seed_counts: set[int] = set()
        for row in pa.concat_tables([read_rows(path) for path in paths]).to_pylist():
            self.rows.setdefault(f"{row['paper']}/{row['run']}", []).append(row)

    def select(self, run: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows of a run; ``where`` says more than the figure does, or otherwise. None as a value means any.

        Raises:
            UserError: there are none; the message says which condition leaves none.
        """
        full = run if "/" in run else f"{self.spec['paper']}/{run}"
        rows = choose(self.rows, full, "run among the metrics")
        asked = {key: self.spec[key] for key in (*CELL, "metric")}
        for column, value in (asked | dict(where)).items():
            if value is None:
                continue
            matching = [row for row in rows if row[column] == value]
            if not matching:
                present = list(dict.fromkeys(str(row[column]) for row in rows))
                raise UserError(
                    f"figure {self.spec['name']!r}: run {full} has no metrics with {column}: {value}."
                    f"{near_miss(str(value), present)} It has: {', '.join(present)}."
                )
            rows = matching
        return rows

    def over_seeds(self, run: str, where: Mapping[str, Any]) -> tuple[float, float, int]:
        """Mean and standard deviation (n - 1; nan for one) over seeds in the drawn unit, and how many seeds.

        Raises:
            UserError: a seed has several values, because a column is left open.
        """

        import numpy as np

        rows = self.select(run, where)
        by_seed: dict[int, dict[str, Any]] = {}
        for row in rows:
            other = by_seed.setdefault(row["seed"], row)
            if other is not row:
                keys = ("benchmark", "subset", "epoch", "epochs", "threshold_rule")
                open_columns = [name for name in keys if row[name] != other[name]]
                column = open_columns[0] if open_columns else "value"
                raise UserError(
                    f"figure {self.spec['name']!r}: run {run} has several values for seed {row['seed']}: its "
                    f"rows differ in {column} ({other[column]!r}, {row[column]!r}). Say which {column}."
                )
        self.seed_counts.add(len(by_seed))
        factor = metric_factor(rows[0]["metric"])
        values = np.array([by_seed[seed]["value"] for seed in sorted(by_seed)], dtype=np.float64) * factor
        if self.spec.get("spread") == "epochs":
            spread = float(np.mean([row["spread"] for row in by_seed.values()])) * factor
        else:
            spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        return float(values.mean()), spread, len(values)

    def subsets(self, run: Mapping[str, Any]) -> list[str]:
        """The subsets to draw: those of the figure, or all that a row's run has, then the mean if wanted."""
        tested = list(dict.fromkeys(row["subset"] for row in self.select(run["run"], cell_of(run))))
        wanted = list(self.spec["subsets"]) or [name for name in tested if name != "mean"]
        return [*wanted, *(["mean"] if self.spec["mean"] and "mean" not in wanted else [])]

    def caption(self, spread: str) -> str:
        """What is drawn, in one sentence: checkpoint rule and seeds."""
        rule = self.spec["checkpoint"]
        rules = {"last": "Last epoch", "mean": "Mean of the kept epochs", "epoch": "Every epoch"}
        counts = sorted(self.seed_counts)
        epochs = self.spec.get("spread") == "epochs"
        seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        sentence = f"{rules.get(rule, rule)}, {'one seed' if counts == [1] else f'mean of {seeds} seeds'}"
        if not spread or (counts == [1] and not epochs):
            return f"{sentence}."
        return f"{sentence}; {spread} ± one standard deviation over {'the kept epochs' if epochs else 'seeds'}."


def cell_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a panel or row says about the metrics to draw."""
    return {key: value for key, value in entry.items() if key in ("subset", "metric", *CELL)}
