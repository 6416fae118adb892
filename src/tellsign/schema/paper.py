"""What a paper file may say."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tellsign.schema.annotation import Annotate
from tellsign.schema.data import Test
from tellsign.schema.fields import Named, Several
from tellsign.schema.settings import Settings
from tellsign.schema.training import Pretrain


class PaperCoverage(Settings):
    """What stands here for one table or figure of the printed paper; ``docs/coverage.md`` is made of these.

    Attributes:
        tables, figures: Names of ours.
        without: Why nothing is run for it: it shows no result.
        note: What a reader should know.
    """

    tables: Several[str] = ()
    figures: Several[str] = ()
    without: str = ""
    note: str = ""


class Paper(Settings):
    """One paper file: the base recipe, the runs (each states only what differs), grids, tables, figures.

    Attributes:
        seeds: Of every run that names none.
        base: What every run starts from.
        bases: Named changes to ``base``: a run or grid that says ``base: NAME`` starts from ``base`` (or from its
            ``baseline``) with them.
        baselines: Recipes of other methods; a run that says ``baseline: NAME`` starts from one of them instead of from
            ``base``. ``include: FILE`` reads them from a file, so that papers share them.
        released: Recipes of released checkpoints, by the names that rows of tables give under ``released``; ``include:
            FILE`` reads them from a file. Each is a run of its own where the configuration says ``released: true``.
        artifacts: Every table and figure of the printed paper, by its number.
    """

    paper: str
    title: str
    seeds: Several[int]
    base: Named[Any]
    runs: Named[Any]
    bases: Named[Any] = Field(default_factory=dict)
    baselines: Named[Any] = Field(default_factory=dict)
    released: Named[Any] = Field(default_factory=dict)
    artifacts: Named[PaperCoverage] = Field(default_factory=dict)
    grids: Named[Any] = Field(default_factory=dict)
    annotate: Named[Annotate] = Field(default_factory=dict)
    pretrain: Named[Pretrain] = Field(default_factory=dict)
    tests: Named[Test] = Field(default_factory=lambda: {"test": Test()})
    tables: Named[Any] = Field(default_factory=dict)
    figures: Named[Any] = Field(default_factory=dict)


class PaperFile(Settings):
    """A paper file of which a configuration takes a part, or in which it changes something.

    Attributes:
        file: The paper file.
        changes: Merged over the file, key by key; runs, tables and so on must be there already.
        tables, figures: Only these; null for all. Runs that none of them shows are left out.
    """

    file: str
    changes: Named[Any] = Field(default_factory=dict)
    tables: Several[str] | None = None
    figures: Several[str] | None = None
