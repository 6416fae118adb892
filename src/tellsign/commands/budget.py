"""What artifacts cost before any is made: images, bytes and hours, from counts and from measured rates.

Everything is an `Amount`: a sum that knows whether some of its parts are unknown. Nothing is guessed here:
``config/rates.yaml`` states how fast machines are and how large images are on average, with the sources. No torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tellsign.data.benchmarks import list_images
from tellsign.detectors.recipes.base import Recipe, Work
from tellsign.detectors.registry import recipe_class
from tellsign.errors import UserError
from tellsign.plan.artifact import Artifact
from tellsign.schema.config import Config
from tellsign.schema.data import Benchmark, Split
from tellsign.schema.fields import Named, Positive
from tellsign.schema.loading import build, plain
from tellsign.schema.settings import Settings
from tellsign.schema.strict_yaml import read_yaml
from tellsign.stages.registry import STAGES
from tellsign.system.parquet import read_rows

# ------------------------------------------------------------------------------------------------ sums


@dataclass(frozen=True)
class Amount:
    """A sum; ``whole`` is false when a part of it is unknown, so that it is the least it can be."""

    value: float = 0.0
    whole: bool = True

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.value + other.value, self.whole and other.whole)

    def __mul__(self, factor: float) -> Amount:
        return Amount(self.value * factor, self.whole)


UNKNOWN = Amount(0.0, whole=False)


def amount(value: float | None) -> Amount:
    """A known number, or nothing known."""
    return UNKNOWN if value is None else Amount(value)


def total(amounts: Iterable[Amount]) -> Amount:
    """Their sum."""
    return sum(amounts, Amount())


# ------------------------------------------------------------------------------------------------ rates


class Rate(Settings):
    """Images per second of one network; null where nobody has measured.

    Attributes:
        side: Side of the images in pixels, null where images are taken as they are.
        train: Forward, backward and step.
        score: Forward alone; of a captioner or grounder, what it does to an image.
        basis: ``measured`` by benchmarks/rates.py, ``published`` by others, or ``estimated`` from either.
        source: Where it comes from.
    """

    basis: Literal["measured", "published", "estimated"]
    source: str
    side: Positive[int] | None = None
    train: Positive[float] | None = None
    score: Positive[float] | None = None


class Machine(Settings):
    """A machine and what each network does on it."""

    what: str
    rates: Named[Rate]


class Size(Settings):
    """Size of a network: its parameters and the width of its features."""

    parameters: Positive[int]
    dim: Positive[int]


class ImageSize(Settings):
    """Pixels of a benchmark's average image, in millions."""

    megapixels: Positive[float]
    source: str = ""


class Rates(Settings):
    """All of ``config/rates.yaml``.

    Attributes:
        machines: By name; the first that knows a network of the configuration is the one that hours are given for.
        networks: Sizes of the backbones.
        pictures: BENCHMARK or BENCHMARK/PART → average image, for sets that have not been indexed.
        score_bytes: Bytes on disk of one score.
    """

    machines: Named[Machine]
    networks: Named[Size]
    pictures: Named[ImageSize]
    score_bytes: Positive[float]


def read_rates(path: Path) -> Rates:
    """Read the file strictly.

    Raises:
        UserError: names what is wrong with it.
    """
    return build(Rates, read_yaml(path), path.name)


# ------------------------------------------------------------------------------------------------ images

Labels = tuple[int | None, int | None]
"""Real and fake images; None where nobody knows yet."""
Counts = dict[str, Labels]
"""By subset."""


@dataclass(frozen=True)
class SplitSize:
    """A split, as far as it is known before it is made.

    Attributes:
        counts: Images by subset and label.
        unique: Different images: reals that subsets share count once.
        megapixels: Of the average image.
    """

    counts: Counts
    unique: Amount
    megapixels: float | None

    def images(self, subsets: Iterable[str] = (), count: int | Literal["all"] = "all") -> Amount:
        """Images of some subsets (none named: all), at most ``count`` of each, half of them real."""
        wanted = list(subsets) or list(self.counts)
        found = Amount()
        for subset in wanted:
            for held in self.counts.get(subset, (None, None)):
                if count == "all":
                    found += amount(held)
                else:
                    found += Amount(count // 2 if held is None else min(held, count // 2))
        return found if wanted else UNKNOWN


class ImageCounter:
    """How many images each split holds: from the split, else from the index, else from what the configuration expects.

    Args:
        config: The configuration.
        rates: For the size of images of sets that are not indexed.
        folder: Where artifacts live.
        roots: Benchmark → its roots that are there.
    """

    def __init__(
        self, config: Config, rates: Rates, folder: Path, roots: Callable[[Artifact], dict[str, Path]]
    ) -> None:
        self._config, self._rates, self._folder, self._roots = config, rates, folder, roots
        self._drawn: dict[str, SplitSize] = {}
        self._indexed: dict[str, dict[str, Any]] = {}
        self._listed: dict[str, dict[str, Counts]] = {}

    def drawn(self, split: Artifact) -> SplitSize:
        """The images of a split."""
        if split.path not in self._drawn:
            self._drawn[split.path] = self._look(split)
        return self._drawn[split.path]

    def _look(self, split: Artifact) -> SplitSize:
        spec = self._config.splits[split.name]
        if (self._folder / split.path).exists():
            return self._made(self._folder / split.path)
        ((_, index),) = split.needs["index"]
        benchmark = self._config.benchmarks[spec.benchmark]
        mean = self._picture(spec)
        if (self._folder / index.path).exists():
            known, means = self.indexed(index)
            counts, mean = known.get(spec.part, {}), means.get(spec.part)
        elif benchmark.layout == "demo" or not benchmark.roots:
            counts = made_here(self._config, spec)
        elif benchmark.counts:
            counts = expected(benchmark, spec)
        else:
            counts = self._list(index, benchmark).get(spec.part, {})
        chosen = spec.subsets or benchmark.subsets
        counts = {name: counts.get(name, (None, None)) for name in chosen or counts}
        counts = {name: limited(labels, spec) for name, labels in counts.items()}
        drawn = SplitSize(counts, Amount(), mean)
        return SplitSize(counts, drawn.images(), mean)

    def _made(self, path: Path) -> SplitSize:
        """A split that has been drawn."""
        rows = read_rows(path, ("subset", "label", "id", "width", "height"))
        held = Counter(zip(rows["subset"].to_pylist(), rows["label"].to_pylist(), strict=True))
        counts: Counts = {subset: (held[subset, 0], held[subset, 1]) for subset in sorted({s for s, _ in held})}
        sizes = rows["width"].to_numpy().astype(float) * rows["height"].to_numpy()
        mean = float(sizes.mean()) / 1e6 if len(sizes) else None
        return SplitSize(counts, Amount(len(set(rows["id"].to_pylist()))), mean)

    def indexed(self, index: Artifact) -> tuple[dict[str, Counts], dict[str, float]]:
        """Usable images of an index that has been made, and their mean megapixels, both by part."""
        if index.path not in self._indexed:
            rows = read_rows(self._folder / index.path, ("subset", "part", "label", "status", "width", "height"))
            usable = rows.filter(_equal(rows["status"], "ok")).select(["subset", "part", "label"])
            grouped = usable.group_by(["subset", "part", "label"]).aggregate([([], "count_all")]).to_pylist()
            counts: dict[str, Counts] = {}
            for row in grouped:
                labels = list(counts.setdefault(row["part"], {}).get(row["subset"], (0, 0)))
                labels[row["label"]] = row["count_all"]
                counts[row["part"]][row["subset"]] = (labels[0], labels[1])
            means = {}
            for part in counts:
                held = rows.filter(_equal(rows["part"], part))
                sizes = held["width"].to_numpy().astype(float) * held["height"].to_numpy()
                means[part] = float(sizes.mean()) / 1e6
            self._indexed[index.path] = {"counts": counts, "means": means}
        held = self._indexed[index.path]
        return held["counts"], held["means"]

    def _list(self, index: Artifact, benchmark: Benchmark) -> dict[str, Counts]:
        """Files of folders that are there and that nobody has counted, by part; none are opened."""
        if index.path in self._listed:
            return self._listed[index.path]
        found: dict[str, Counter[tuple[str, int]]] = {}
        roots = self._roots(index)
        try:
            files = list_images(roots, plain(benchmark)).files if roots else []
        except UserError:  # the index will say what is wrong with them
            files = []
        for file in files:
            found.setdefault(file.part, Counter())[file.subset, file.label] += 1
        unnamed = found.pop("", Counter())  # the part follows from the image: a known share on average
        for part, share in (("test", benchmark.test_fraction), ("train", 1 - benchmark.test_fraction)):
            for place, count in unnamed.items():
                found.setdefault(part, Counter())[place] += round(share * count)
        self._listed[index.path] = {
            part: {subset: (held[subset, 0], held[subset, 1]) for subset in {s for s, _ in held}}
            for part, held in found.items()
        }
        return self._listed[index.path]

    def _picture(self, spec: Split) -> float | None:
        demo = self._config.demo
        if demo is not None and not self._config.benchmarks[spec.benchmark].roots:
            return next(iter(demo.photos.values())).side ** 2 / 1e6
        known = self._rates.pictures
        held = known.get(f"{spec.benchmark}/{spec.part}") or known.get(spec.benchmark)
        return held.megapixels if held else None


def _equal(column: Any, value: str) -> Any:
    import pyarrow.compute as pc

    return pc.equal(column, value)  # pyright: ignore[reportAttributeAccessIssue]


def expected(benchmark: Benchmark, spec: Split) -> Counts:
    """What a benchmark's counts say of a part. A label without a number is taken to be as many as the other."""
    found: Counts = {}
    for subset, parts in benchmark.counts.items():
        if spec.part in parts:
            count = parts[spec.part]
            real, fake = count.real, count.fake
            if spec.part == "pretrain":
                found[subset] = (real, 0)
            else:
                found[subset] = (fake if real is None else real, real if fake is None else fake)
    return found


def made_here(config: Config, spec: Split) -> Counts:
    """The demo's images, which rules make."""
    if config.demo is None:
        return {}
    if spec.part == "pretrain":
        return {"photos": (config.demo.photos["pretrain"].count, 0)}
    real = config.demo.photos[spec.part].count
    return {
        name: (real, generator.train_count if spec.part == "train" else generator.test_count)
        for name, generator in config.demo.generators.items()
    }


def limited(labels: Labels, spec: Split) -> Labels:
    """What a split takes of a subset. A number that it asks for is taken to be there: it fails otherwise.

    ``per_class`` takes from class folders, of which only an index knows; without one this is the most there can be.
    """
    if spec.count == "all":
        return labels
    half = spec.count if spec.part == "pretrain" else spec.count // 2
    return (half, 0 if spec.part == "pretrain" else half)


# ------------------------------------------------------------------------------------------------ costs


@dataclass(frozen=True)
class Cost:
    """What one artifact takes, or several.

    Attributes:
        trained: Images (of pre-training: patches) that trainings look at, epochs counted.
        scored: Images that are scored, once for every checkpoint.
        bytes: On disk.
        hours: Of the machine.
        unrated: What it computes and no rate is known for.
        scaled: Networks whose rate was measured at another image size and follows here from the number of pixels.
    """

    trained: Amount = field(default_factory=Amount)
    scored: Amount = field(default_factory=Amount)
    bytes: Amount = field(default_factory=Amount)
    hours: Amount = field(default_factory=Amount)
    unrated: frozenset[str] = frozenset()
    scaled: frozenset[str] = frozenset()

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.trained + other.trained,
            self.scored + other.scored,
            self.bytes + other.bytes,
            self.hours + other.hours,
            self.unrated | other.unrated,
            self.scaled | other.scaled,
        )

    def without_hours(self) -> Cost:
        """The same of what is made already and takes no more time."""
        return Cost(self.trained, self.scored, self.bytes)


def _recipe_of(settings: Mapping[str, Any]) -> type[Recipe]:
    """The class of the recipe that a training's settings come from."""
    return recipe_class(settings["method"], "a training")


class Costs:
    """Costs of artifacts.

    Args:
        census: Counts images.
        rates: Sizes and rates.
        machine: A name among its machines.
    """

    def __init__(self, counter: ImageCounter, rates: Rates, machine: str) -> None:
        self._census, self._rates = counter, rates
        self._machine = rates.machines[machine]

    def of(self, artifact: Artifact) -> Cost:
        """What one artifact takes, without what it needs."""
        reckoned = {
            "pixels": self._crops,
            "training": self._train,
            "head": self._train,
            "pretraining": self._pretrain,
            "scoring": self._score,
            "annotation": self._annotated,
        }
        cost = STAGES[artifact.stage].cost
        return reckoned[cost](artifact) if cost else Cost()

    def _hours(self, images: Amount, network: str, work: Literal["train", "score"], side: int | None) -> Cost:
        rate = self._machine.rates.get(network)
        per_second = getattr(rate, work) if rate else None
        if rate is None or per_second is None:
            return Cost(hours=UNKNOWN, unrated=frozenset([network if "/" in network else f"{work}/{network}"]))
        scaled = side is not None and rate.side is not None and side != rate.side
        if scaled:
            assert rate.side and side
            per_second *= (rate.side / side) ** 2
        return Cost(hours=images * (1 / per_second / 3600), scaled=frozenset([network] if scaled else []))

    def _weights(self, network: str, copies: Amount) -> Amount:
        size = self._rates.networks.get(network)
        return copies * (4.0 * size.parameters) if size else UNKNOWN

    def _crops(self, artifact: Artifact) -> Cost:
        drawn = self._census.drawn(artifact.needs["split"][0][1])
        settings = artifact.settings
        if settings["store"] == "center":
            pixels = Amount(settings["size"] ** 2)
        elif settings["bias_size"]:
            pixels = Amount(settings["bias_size"] ** 2)
        elif settings["resize"]:  # to the shorter side: at least the square
            pixels = Amount(settings["resize"]["size"] ** 2, whole=settings["resize"]["mode"] == "squash")
        else:
            pixels = amount(None if drawn.megapixels is None else drawn.megapixels * 1e6)
        return Cost(bytes=Amount(drawn.unique.value * pixels.value * 3, drawn.unique.whole and pixels.whole))

    def _train(self, artifact: Artifact) -> Cost:
        settings, drawn = artifact.settings, self._census.drawn(artifact.needs["split"][0][1])
        subsets, shots, epochs = settings["data"]["subsets"], settings.get("shots"), max(settings.get("epochs", 1), 1)
        copies = Amount(min(settings["keep"], epochs))
        if shots is None:
            an_epoch = drawn.images(subsets, settings["data"]["count"])
        else:
            targets = subsets or list(drawn.counts)
            an_epoch, copies = Amount(2 * shots * len(targets)), Amount(len(targets))
        made = Cost(trained=an_epoch * epochs)
        work = _recipe_of(settings).work(settings)
        if work is None:
            return made
        made += self._worked(an_epoch * epochs, work) + Cost(bytes=self._weights(work.network, copies))
        for _, split in artifact.needs.get("validation_split", ()):
            stop = settings["stop"]
            looked_at = self._census.drawn(split).images(stop["subsets"], stop["count"]) * epochs
            made += self._worked(looked_at, work._replace(trained=False))
        return made

    def _worked(self, images: Amount, work: Work) -> Cost:
        return self._hours(images, work.network, "train" if work.trained else "score", work.side)

    def _pretrain(self, artifact: Artifact) -> Cost:
        settings, steps = artifact.settings, artifact.settings["steps"]
        if steps is None:
            held = [*artifact.needs.get("split", ()), *artifact.needs.get("crops", ())]
            split = held[0][1] if held[0][1].stage == "split" else held[0][1].needs["split"][0][1]
            images = self._census.drawn(split).images()
            batches = images * (1 / settings["n_images"])
        else:
            batches = Amount(steps)
        patches = settings["n_ratios"] * settings["n_phases"] * settings["n_images"] * settings["n_patches"]
        seen, network = batches * (settings["epochs"] * patches), settings["backbone"]["name"]
        made = self._hours(seen, network, "train", settings["patch"])
        return made + Cost(trained=seen, bytes=self._weights(network, Amount(1)))

    def _score(self, artifact: Artifact) -> Cost:
        checkpoints = [held for _, held in artifact.needs["checkpoints"]]
        first = checkpoints[0].settings
        few_shot = first.get("shots") is not None  # each subset has weights of its own
        kept = 1 if few_shot else min(artifact.settings.get("keep", 1), max(first.get("epochs", 1), 1))
        drawn = [self._census.drawn(split) for _, split in artifact.needs["splits"]]
        factor = kept * len(checkpoints)
        scored = total(d.unique for d in drawn) * factor
        rows = total(d.images() for d in drawn) * factor
        made = Cost(scored=scored, bytes=rows * self._rates.score_bytes)
        work = _recipe_of(first).work(first, artifact.settings["view"])
        return made if work is None else made + self._worked(scored, work)

    def _annotated(self, artifact: Artifact) -> Cost:
        """Captions, boxes or embeddings, an image at a time."""
        (_, crops), *_ = artifact.needs["crops"]
        images = self._census.drawn(crops.needs["split"][0][1]).unique
        if artifact.stage != "embed":
            key = {"caption": "captioner", "ground": "grounder"}[artifact.stage]
            return self._hours(images, f"{artifact.stage}/{artifact.settings[key]['name']}", "score", None)
        network = artifact.settings["clip"]["name"]
        size = self._rates.networks.get(network)
        stored = images * (2 * 4.0 * size.dim) if size else UNKNOWN  # image and caption; objects come on top
        return self._hours(images, network, "score", None) + Cost(bytes=stored)
