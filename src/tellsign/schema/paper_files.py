"""A paper file as a configuration takes it: what it includes, what is changed in it, which tables and figures.

Plain Python: a dry run needs this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tellsign.errors import UserError, choose
from tellsign.schema.loading import expand_grid, merge
from tellsign.schema.paper import Paper, PaperFile
from tellsign.schema.strict_yaml import read_yaml

GROUPS = ("runs", "grids", "tables", "figures", "tests", "annotate", "pretrain", "bases", "baselines", "released")
"""Sections of a paper file whose keys are names of its own: a change may name only what is there."""


def read_paper_file(entry: PaperFile | str, folder: Path) -> dict[str, Any]:
    """Read a paper file as plain data, with what it includes, the changes to it and only the tables and figures wanted.

    Args:
        entry: What stands under ``papers`` of a configuration.
        folder: Where relative paths start.

    Raises:
        UserError: no such file, no mapping, or a change or selection of something that is not there.
    """
    chosen = entry if isinstance(entry, PaperFile) else PaperFile(file=entry)
    where = Path(chosen.file).name
    data = read_yaml(folder / chosen.file)
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: expected a mapping, got {data!r}.")
    data = dict(data)
    for section in ("baselines", "released"):
        if isinstance(data.get(section), Mapping) and "include" in data[section]:
            own = dict(data[section])
            data[section] = merge(read_yaml(folder / str(own.pop("include"))), own)
    for group in GROUPS:
        for name in chosen.changes.get(group) or {}:
            choose(data.get(group) or {}, name, f"name in changes.{group} of {where}")
    data = merge(data, chosen.changes)
    for group, wanted in (("tables", chosen.tables), ("figures", chosen.figures)):
        if wanted is not None:
            there = data.get(group) or {}
            data[group] = {name: choose(there, name, f"name in {group} of {where}") for name in wanted}
    return data


def run_specs(paper: Paper, where: str) -> dict[str, dict[str, Any]]:
    """Every run of a paper, those of its grids among them, with all that its recipe says.

    Raises:
        UserError: an unknown base or baseline, or a name that would be taken for a cell of another grid.
    """
    specs = {name: dict(change or {}) for name, change in paper.runs.items()}
    cells = {name: expand_grid(name, grid) for name, grid in paper.grids.items()}
    for grid in paper.grids:
        others = [cell for other, runs in cells.items() if other != grid for cell in runs]
        for name in (*specs, *others):
            if name.startswith(f"{grid}-"):
                raise UserError(f"{where}: run {name} would be taken for a cell of grid {grid}: rename one of them.")
    for runs in cells.values():
        specs |= runs
    for name, change in specs.items():
        spec, start = dict(change), paper.base
        if "baseline" in spec:
            start = choose(paper.baselines, str(spec.pop("baseline")), f"baseline of {where}: run {name}")
        if "base" in spec:
            start = merge(start, choose(paper.bases, str(spec.pop("base")), f"base of {where}: run {name}"))
        specs[name] = merge(start, spec)
    return specs


def runs_of_grids(names: Sequence[str], grids: str | Sequence[str]) -> list[str]:
    """Of the names of runs those that are cells of a grid, or of several grids in turn."""
    wanted = [grids] if isinstance(grids, str) else list(grids)
    return [name for grid in wanted for name in names if name.startswith(f"{grid}-")]
