"""Every stage once: its name, what it does, where its artifacts lie, and what a job of it takes.

Paths, ``tellsign --help``, the doctor's costs, and what is shared and pruned follow from these records; a test holds
the profiles of clusters to them. A new stage is four files: its module here, its record below, its rule in
``workflow/rules``, its test. Their order is the order of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FINGERPRINT = "[0-9a-f]{12}"
"""A fingerprint, as a pattern."""


@dataclass(frozen=True)
class Job:
    """What a job may take on a cluster; null takes the profile's ``default-resources``.

    Attributes:
        minutes: Wall-clock time.
        megabytes: Memory.
        cores: Processor cores; beside a GPU they decode images.
        group: Short jobs of one group follow one another and are one submission.
    """

    minutes: int | None = None
    megabytes: int | None = None
    cores: int | None = None
    group: str = ""

    @property
    def resources(self) -> dict[str, int]:
        """The same in Snakemake's words."""
        known = {"runtime": self.minutes, "mem_mb": self.megabytes, "cpus_per_task": self.cores}
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True)
class Stage:
    """One stage; its rule, module, folder and log share its name.

    Attributes:
        name: The command: ``tellsign NAME``.
        help: One line for ``tellsign --help``.
        path: Where an artifact lies; ``{name}`` and ``{fp}`` stand for its name and fingerprint. Empty for a stage that
            no plan names.
        job: What it takes on a cluster; None for one that runs where Snakemake does.
        gpu: GPUs that a job waits for.
        parts: Whether several jobs may fill its store, each a part of it, by the rule ``NAME_part``.
        cost: How the doctor reckons what a job takes; empty for nothing worth counting.
        disk: What the doctor calls its files; empty for what is small.
    """

    name: str
    help: str
    path: str = ""
    job: Job | None = None
    gpu: int = 0
    parts: bool = False
    cost: Literal["", "pixels", "training", "head", "pretraining", "scoring", "annotation"] = ""
    disk: str = ""

    @property
    def folder(self) -> bool:
        """Whether an artifact is a folder rather than a file."""
        return bool(self.path) and "." not in self.path.rpartition("{fp}")[2]

    @property
    def trains(self) -> bool:
        """Whether an artifact is the outcome of a training."""
        return self.cost in ("training", "head", "pretraining")

    def path_of(self, name: str, fingerprint: str) -> str:
        """Where the artifact of a name and fingerprint lies, relative to the working folder."""
        return self.path.format(name=name, fp=fingerprint)


CHECKPOINTS = "checkpoints (`tellsign prune --scored` frees those whose scores are made)"

RECORDS = (
    Stage("demo_weights", "train the demo's tiny towers, captioner and grounder"),
    Stage(
        "demo_photos",
        "render one part of the demo's photographs",
        "data/demo_photos/{name}.{fp}",
        Job(10, 1000, 1, group="data"),
    ),
    Stage(
        "demo_generator",
        "train one of the demo's generators and sample it",
        "data/demo_generator/{name}.{fp}",
        Job(20, 2000, 1, group="data"),
    ),
    Stage(
        "index",
        "list every image of a benchmark with its facts and status",
        "data/index/{name}.{fp}.parquet",
        Job(720, 16000, 1, group="data"),
    ),
    Stage(
        "split",
        "draw a seeded, balanced sample of an index",
        "data/split/{name}.{fp}.parquet",
        Job(30, 8000, 1, group="data"),
    ),
    Stage(  # large and quick to make again: they lie in cache/, which is not versioned
        "crops",
        "decode a split's images once into one packed file",
        "cache/crops/{name}.{fp}",
        Job(720, 8000, 1),
        cost="pixels",
        disk="crops (in cache/, made anew when deleted)",
    ),
    Stage(
        "caption",
        "caption images",
        "data/caption/{name}.{fp}.parquet",
        Job(megabytes=48000),
        gpu=1,
        parts=True,
        cost="annotation",
    ),
    Stage(
        "ground",
        "find the captions' objects",
        "data/ground/{name}.{fp}.parquet",
        Job(megabytes=24000),
        gpu=1,
        parts=True,
        cost="annotation",
    ),
    Stage(
        "embed",
        "embed images, captions and objects by CLIP",
        "data/embed/{name}.{fp}",
        Job(720, 16000),
        gpu=1,
        cost="annotation",
        disk="features",
    ),
    Stage(
        "pretrain",
        "pre-train an encoder by rescaling contrast",
        "data/pretrain/{name}.{fp}",
        Job(megabytes=32000, cores=8),
        gpu=1,
        cost="pretraining",
        disk=CHECKPOINTS,
    ),
    Stage(
        "train",
        "train a run by its method",
        "data/train/{name}.{fp}",
        Job(megabytes=16000),
        gpu=1,
        cost="training",
        disk=CHECKPOINTS,
    ),
    Stage(
        "train_head",
        "train a run whose method needs no GPU (TIDY's heads)",
        "data/train_head/{name}.{fp}",
        Job(60, 8000, 1, group="scored"),
        cost="head",
    ),
    Stage(
        "score",
        "score test sets with a run's checkpoints",
        "data/score/{name}.{fp}.parquet",
        Job(720, 16000, group="scored"),
        gpu=1,
        cost="scoring",
        disk="scores",
    ),
    Stage(
        "score_head",
        "score test sets with such a run's checkpoints",
        "data/score_head/{name}.{fp}.parquet",
        Job(30, 8000, 1, group="scored"),
        cost="scoring",
        disk="scores",
    ),
    Stage(
        "evaluate",
        "compute metrics from scores",
        "data/evaluate/{name}.{fp}.parquet",
        Job(30, 2000, 1, group="scored"),
    ),
    Stage("table", "make one table", "data/table/{name}.{fp}"),
    Stage("figure", "make one figure", "data/figure/{name}.{fp}", Job(120, 8000, 1)),
    Stage("report", "put all tables and figures on one page", "data/report/{name}.{fp}.html"),
)

STAGES = {stage.name: stage for stage in RECORDS}
"""The stages by name."""

TRAININGS = tuple(stage.name for stage in RECORDS if stage.trains)
"""Names of the stages whose artifacts count as trainings."""
