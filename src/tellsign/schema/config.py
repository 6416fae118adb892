"""What a whole configuration may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tellsign.schema.data import Benchmark, Split
from tellsign.schema.evaluation import Evaluate
from tellsign.schema.fields import Named, Positive, Several
from tellsign.schema.paper import PaperFile
from tellsign.schema.settings import Settings


class DemoPhotos(Settings):
    """One part of the demo's photographs."""

    part: Literal["pretrain", "source", "train", "test", "prompt_train", "prompt_test"]
    count: Positive[int]
    side: Positive[int] = 176
    seed: int = 0


class DemoGenerator(Settings):
    """Training and sampling of one of the demo's generators."""

    name: str
    steps: Positive[int]
    train_count: Positive[int]
    test_count: Positive[int]
    batch: Positive[int] = 12
    seed: int = 0


class Demo(Settings):
    """The embedded world: photographs by part, generators by name."""

    photos: Named[DemoPhotos]
    generators: Named[DemoGenerator]


class Config(Settings):
    """A whole configuration.

    Attributes:
        name: Shown in logs and reports.
        extends: Path of a whole configuration over which this one is merged, key by key; lists are replaced.
        papers: Paper files, or parts of them.
        benchmarks: By name. `tellsign.plan.plan.included` reads what stands under ``include``, or a path in
            place of all.
        splits: By name.
        banner: Stands above every table and figure; empty for none.
        comparable: The test sets are those of the papers, so that a difference from a quoted number means something.
        released: Tables have a column of the released checkpoints that their rows name, which are scored for it.
        on_bad: What a bad image does: ``fail`` (list them all and stop) or ``drop`` (list them and go on).
        evaluate: How metrics are computed.
        demo: The embedded world, if any.
        pins: Fingerprints held for a stage and name, to keep an artifact across a refactoring.
        roots: Folders that replace benchmarks' roots: BENCHMARK → folder where it has one root, else BENCHMARK/ROOT.
        caption_jobs: How many jobs share the captioning of a split, and then its grounding; no number depends on it.
        root, photos, train, data: Values given by ``--config``; ``{root}`` and so on stand for them in every string.
    """

    name: str
    extends: str | None = None
    papers: Several[PaperFile | str]
    benchmarks: Named[Benchmark]
    splits: Named[Split]
    banner: str = ""
    comparable: bool = False
    released: bool = False
    on_bad: Literal["fail", "drop"] = "fail"
    evaluate: Evaluate = Evaluate()
    demo: Demo | None = None
    pins: Named[str] = Field(default_factory=dict)
    roots: Named[str] = Field(default_factory=dict)
    caption_jobs: Positive[int] = 1
    root: str | None = None
    photos: str | None = None
    train: str | None = None
    data: str | None = None
