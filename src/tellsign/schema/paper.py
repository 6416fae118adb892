"""What a paper file may say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tellsign.schema.annotation import Annotate
from tellsign.schema.data import Test
from tellsign.schema.training import Pretrain


@dataclass(frozen=True)
class PaperCoverage:
    """What stands here for one table or figure of the printed paper; ``docs/coverage.md`` is made of these.

    Attributes:
        tables, figures: Names of ours.
        without: Why nothing is run for it: it shows no result.
        note: What a reader should know.
    """

    tables: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    without: str = ""
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """One paper file: the base recipe, the runs (each states only what differs), grids, tables, figures.

    Attributes:
        seeds: Of every run that names none.
        baselines: Recipes of other methods; a run that says ``baseline: NAME`` starts from one of them instead of from
            ``base``. ``include: FILE`` reads them from a file, so that papers share them.
        artifacts: Every table and figure of the printed paper, by its number.
    """

    paper: str
    title: str
    seeds: tuple[int, ...]
    base: dict[str, Any]
    runs: dict[str, Any]
    baselines: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, PaperCoverage] = field(default_factory=dict)
    grids: dict[str, Any] = field(default_factory=dict)
    annotate: dict[str, Annotate] = field(default_factory=dict)
    pretrain: dict[str, Pretrain] = field(default_factory=dict)
    tests: dict[str, Test] = field(default_factory=lambda: {"test": Test()})
    tables: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperFile:
    """A paper file of which a configuration takes a part, or in which it changes something.

    Attributes:
        file: The paper file.
        changes: Merged over the file, key by key; runs, tables and so on must be there already.
        tables, figures: Only these; null for all. Runs that none of them shows are left out.
    """

    file: str
    changes: dict[str, Any] = field(default_factory=dict)
    tables: tuple[str, ...] | None = None
    figures: tuple[str, ...] | None = None
