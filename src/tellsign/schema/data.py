"""What a configuration may say of data: benchmarks, splits, perturbations, test sets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tellsign.data.perturbations import PERTURBATIONS
from tellsign.schema.fields import Fraction, Named, NonNegative, Positive, Several
from tellsign.schema.settings import EntryOf, Settings

DataPart = Literal["train", "val", "test", "pretrain"]
"""What a split draws from, and what a root folder may be called that holds one part of a benchmark."""


class Count(Settings):
    """How many images a subset's part should hold.

    Attributes:
        real: Real images; null where no source says.
        fake: Generated images; null where no source says.
        inferred: No publisher or audit states the numbers; they follow from others. A shortfall is told, never fatal.
    """

    real: int | None = None
    fake: int | None = None
    inferred: bool = False


class Benchmark(Settings):
    """Where a benchmark's images are and how its folders are laid out.

    Attributes:
        layout: A name in `tellsign.data.layouts.LAYOUTS`.
        roots: Root folders by key; empty for the demo, whose folders are made by rules. Roots named train, val and
            test are parts: one that no split of the configuration draws from is not read and need not be there.
        subsets: Subsets to read; empty means all that are found.
        exclude: Folder names directly under a root that hold something else.
        folders: Names, in any case, of each subset's folders; for layouts of published sets.
        reals: Names of the folders whose real images each subset is paired with (layouts ufd and dire).
        parts: Which part the images of a folder belong to (layout genimage).
        min_side: Shorter images (pixels) are bad.
        max_pixels: Larger images are bad.
        test_fraction: Share of images kept for testing when the folders name no parts.
        seed: Seed of that division.
        watch: What of the roots makes the index anew. ``contents``: the bytes of every image. ``listing``: names and
            sizes, looked at again only in folders whose modification time has changed, which is the only affordable
            way where there are millions; a file that is overwritten in place then goes unnoticed until it is decoded.
        counts: Usable images by subset and part.
        tolerance: Share of a count that may lack before that is a shortfall.
        on_short: What a shortfall does: ``fail`` or ``warn``. Inferred counts only warn.
        page: Public page, DOI or the like; a benchmark that has one may be absent in a dry run.
        get: How to get it from there.
        licence: As its publisher states it.
        gigabytes: About as much disk as it takes.
    """

    layout: str
    roots: Named[str] = Field(default_factory=dict)
    subsets: Several[str] = ()
    exclude: Several[str] = ()
    folders: Named[Several[str]] = Field(default_factory=dict)
    reals: Named[Several[str]] = Field(default_factory=dict)
    parts: Named[Literal["train", "val", "test"]] = Field(default_factory=dict)
    min_side: Positive[int] = 8
    max_pixels: Positive[int] = 100_000_000
    test_fraction: Fraction = 0.5
    seed: int = 3407
    watch: Literal["contents", "listing"] = "contents"
    counts: Named[Named[Count]] = Field(default_factory=dict)
    tolerance: Fraction = 0.0
    on_short: Literal["fail", "warn"] = "fail"
    page: str = ""
    get: str = ""
    licence: str = ""
    gigabytes: Positive[float] | None = None


class Split(Settings):
    """A seeded, balanced sample of a benchmark's part.

    Attributes:
        benchmark: Name of the benchmark.
        part: ``train``, ``val``, ``test`` or ``pretrain``.
        subsets: Subsets to sample; empty means all.
        count: Images per subset, half real and half fake; ``all`` takes everything.
        seed: Equal seeds give nested splits.
        skip: Images per subset, half real and half fake, that are left out from the beginning of the seed's order: with
            the same seed, a split of this ``count`` and this one share no image.
        per_class: Before that, keep at most this many images of each label from every class folder; null keeps all.
            With ``fallback`` this is how UniversalFakeDetect samples (1,000 and 100) when it is given class folders.
        fallback: A class folder that has fewer than ``per_class`` of either label gives this many of each instead;
            null: what it has. Needs ``per_class``.
    """

    benchmark: str
    part: DataPart
    subsets: Several[str] = ()
    count: Positive[int] | Literal["all"] = "all"
    seed: int = 3407
    skip: NonNegative[int] = 0
    per_class: Positive[int] | None = None
    fallback: Positive[int] | None = None


class Bias(Settings):
    """Bias control of the crops: common crop and common re-encoding for both labels.

    Attributes:
        control: ``none``, ``jpeg`` (re-encode) or ``jpeg+size`` (crop to ``size``, then re-encode).
        size: Side of the common crop in pixels.
        quality: JPEG quality of the common re-encoding.
    """

    control: Literal["none", "jpeg", "jpeg+size"] = "none"
    size: Positive[int] = 256
    quality: Positive[int] = 90


class Perturbation(Settings):
    """A perturbation of decoded images.

    Attributes:
        name: A perturbation of `tellsign.data.perturbations.PERTURBATIONS`.
        options: Its keyword arguments.
        seed: With the image id, the seed of its draws.
    """

    name: Annotated[str, EntryOf(PERTURBATIONS)] = "none"
    options: Named[Any] = Field(default_factory=dict)
    seed: int = 0


class Test(Settings):
    """A test set as the scores see it: a split, perturbed or not.

    Attributes:
        split: Name of the split. Several make one test set whose mean is taken over the subsets of all of them; its
            benchmark is then called by all of their names (``forensynths+ufd``).
        perturbation: What is done to its images.
    """

    split: str | Several[str] = "test"
    perturbation: Perturbation = Perturbation()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits."""
        return (self.split,) if isinstance(self.split, str) else self.split
