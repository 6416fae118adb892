"""What a whole configuration may say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tellsign.schema.data import Benchmark, Split
from tellsign.schema.evaluation import Evaluate
from tellsign.schema.fields import positive
from tellsign.schema.paper import PaperFile


@dataclass(frozen=True)
class DemoPhotos:
    """One part of the demo's photographs."""

    part: Literal["pretrain", "source", "train", "test", "prompt_train", "prompt_test"]
    count: int = positive()
    side: int = positive(176)
    seed: int = 0


@dataclass(frozen=True)
class DemoGenerator:
    """Training and sampling of one of the demo's generators."""

    name: str
    steps: int = positive()
    train_count: int = positive()
    test_count: int = positive()
    batch: int = positive(12)
    seed: int = 0


@dataclass(frozen=True)
class Demo:
    """The embedded world: photographs by part, generators by name."""

    photos: dict[str, DemoPhotos]
    generators: dict[str, DemoGenerator]


@dataclass(frozen=True)
class Config:
    """A whole configuration.

    Attributes:
        name: Shown in logs and reports.
        papers: Paper files, or parts of them.
        benchmarks: By name. `tellsign.plan.plan.included` reads what stands under ``include``, or a path in
            place of all.
        splits: By name.
        banner: Stands above every table and figure; empty for none.
        comparable: The test sets are those of the papers, so that a difference from a quoted number means something.
        on_bad: What a bad image does: ``fail`` (list them all and stop) or ``drop`` (list them and go on).
        evaluate: How metrics are computed.
        demo: The embedded world, if any.
        pins: Fingerprints held for a stage and name, to keep an artifact across a refactoring.
        roots: Folders that replace benchmarks' roots: BENCHMARK → folder where it has one root, else BENCHMARK/ROOT.
        caption_jobs: How many jobs share the captioning of a split, and then its grounding; no number depends on it.
        root, photos, train, data: Values given by ``--config``; ``{root}`` and so on stand for them in every string.
    """

    name: str
    papers: tuple[PaperFile | str, ...]
    benchmarks: dict[str, Benchmark]
    splits: dict[str, Split]
    banner: str = ""
    comparable: bool = False
    on_bad: Literal["fail", "drop"] = "fail"
    evaluate: Evaluate = field(default_factory=Evaluate)
    demo: Demo | None = None
    pins: dict[str, str] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    caption_jobs: int = field(default=1, metadata={"above": 0})
    root: str | None = None
    photos: str | None = None
    train: str | None = None
    data: str | None = None
