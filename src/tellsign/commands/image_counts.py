"""How many images a split holds before it is made: from its index, or from what the configuration expects.

Nothing is guessed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tellsign.commands.amounts import UNKNOWN, Amount, amount
from tellsign.commands.rates import Rates
from tellsign.data.benchmarks import placed_folders
from tellsign.data.inventory import ImagesByFolder
from tellsign.plan.artifact import Artifact
from tellsign.schema.config import Config
from tellsign.schema.data import Benchmark, Split
from tellsign.schema.loading import plain
from tellsign.system.parquet import read_rows

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
        images = Amount()
        for subset in wanted:
            for known in self.counts.get(subset, (None, None)):
                if count == "all":
                    images += amount(known)
                else:
                    images += Amount(count // 2 if known is None else min(known, count // 2))
        return images if wanted else UNKNOWN


class ImageCounter:
    """How many images each split holds: from the split, else from the index, else from files and what is expected.

    Args:
        config: The configuration.
        rates: For the size of images of sets that are not indexed.
        folder: Where artifacts live.
        images: A benchmark's images below each of its roots that are there.
    """

    def __init__(
        self, config: Config, rates: Rates, folder: Path, images: Callable[[str], Mapping[str, ImagesByFolder]]
    ) -> None:
        self._config, self._rates, self._folder, self._images = config, rates, folder, images
        self._sizes: dict[str, SplitSize] = {}
        self._indexed: dict[str, dict[str, Any]] = {}
        self._listed: dict[str, dict[str, Counts]] = {}

    def spec(self, split: Artifact) -> Split:
        """What a split takes."""
        whole = self._config.splits[split.name.partition("/")[0]]
        return whole.model_copy(update={"subsets": tuple(split.settings["subsets"])})

    def drawn(self, split: Artifact) -> SplitSize:
        """The images of a split."""
        if split.path not in self._sizes:
            self._sizes[split.path] = self._look(split)
        return self._sizes[split.path]

    def _look(self, split: Artifact) -> SplitSize:
        spec = self.spec(split)
        if (self._folder / split.path).exists():
            return self._made(self._folder / split.path)
        benchmark = self._config.benchmarks[spec.benchmark]
        indexes = [index for _, index in split.needs["index"]]
        made = [self.indexed(index) for index in indexes if (self._folder / index.path).exists()]
        if len(made) == len(indexes):
            counts: Counts = {}
        elif benchmark.layout == "demo" or not benchmark.roots:
            counts = made_here(self._config, spec)
        else:
            counts = expected(benchmark, spec) | self._files(spec.benchmark).get(spec.part, {})
        mean = self._picture(spec) if len(made) < len(indexes) else _mean(made, spec.part)
        for by_part, _ in made:
            counts |= by_part.get(spec.part, {})
        indexed = [subset for index in indexes for subset in index.settings.get("subsets", ())]
        chosen = spec.subsets or indexed or benchmark.subsets
        counts = {name: counts.get(name, (None, None)) for name in chosen or counts}
        counts = {name: limited(labels, spec) for name, labels in counts.items()}
        drawn = SplitSize(counts, Amount(), mean)
        return SplitSize(counts, drawn.images(), mean)

    def _made(self, path: Path) -> SplitSize:
        """A split that has been drawn."""
        rows = read_rows(path, ("subset", "label", "id", "width", "height"))
        drawn = Counter(zip(rows["subset"].to_pylist(), rows["label"].to_pylist(), strict=True))
        counts: Counts = {subset: (drawn[subset, 0], drawn[subset, 1]) for subset in sorted({s for s, _ in drawn})}
        sizes = rows["width"].to_numpy().astype(float) * rows["height"].to_numpy()
        mean = float(sizes.mean()) / 1e6 if len(sizes) else None
        return SplitSize(counts, Amount(len(set(rows["id"].to_pylist()))), mean)

    def there(self, split: Artifact) -> Counts | None:
        """Different usable images of a split's part, or its files where there is no index; None if no root is there.

        Files whose part follows from the image count for every part: they are the most that it can hold.
        """
        spec = self.spec(split)
        return self.held(spec.benchmark, spec.part, [index for _, index in split.needs["index"]])

    def held(self, name: str, part: str, indexes: Sequence[Artifact]) -> Counts | None:
        """The same of a benchmark's part that these indexes are of."""
        benchmark, made = self._config.benchmarks[name], Counts()
        there = [index for index in indexes if (self._folder / index.path).exists()]
        for index in there:
            made |= self.indexed(index)[0].get(part, {})
        if len(there) == len(indexes):
            return made
        roots = set(benchmark.roots) & {part} or set(benchmark.roots)
        if not roots or not roots <= self._images(name).keys():
            return None
        files = self._files(name)
        return files.get("", {}) | files.get(part, {}) | made

    def indexed(self, index: Artifact) -> tuple[dict[str, Counts], dict[str, float]]:
        """Different usable images of an index that has been made, and their mean megapixels, both by part."""
        if index.path not in self._indexed:
            rows = read_rows(self._folder / index.path, ("subset", "part", "label", "id", "status", "width", "height"))
            usable = rows.filter(_equal(rows["status"], "ok"))
            grouped = usable.group_by(["subset", "part", "label"]).aggregate([("id", "count_distinct")]).to_pylist()
            counts: dict[str, Counts] = {}
            for row in grouped:
                labels = list(counts.setdefault(row["part"], {}).get(row["subset"], (0, 0)))
                labels[row["label"]] = row["id_count_distinct"]
                counts[row["part"]][row["subset"]] = (labels[0], labels[1])
            means = {}
            for part in counts:
                images = rows.filter(_equal(rows["part"], part))
                sizes = images["width"].to_numpy().astype(float) * images["height"].to_numpy()
                means[part] = float(sizes.mean()) / 1e6
            self._indexed[index.path] = {"counts": counts, "means": means}
        indexed = self._indexed[index.path]
        return indexed["counts"], indexed["means"]

    def _files(self, name: str) -> dict[str, Counts]:
        """Files in the folders of a benchmark that are there, by part; none are opened.

        Where the part follows from the image, both parts have their share on average, and "" has them all.
        """
        if name not in self._listed:
            benchmark = self._config.benchmarks[name]
            held = {key: {f: i.count for f, i in folders.items()} for key, folders in self._images(name).items()}
            by_part: dict[str, Counter[tuple[str, int]]] = {}
            for one in placed_folders(held, plain(benchmark)) if held else ():
                by_part.setdefault(one.part, Counter())[one.subset, one.label] += held[one.root][one.path]
            unnamed = by_part.get("", Counter())
            for part, share in (("test", benchmark.test_fraction), ("train", 1 - benchmark.test_fraction)):
                for place, count in unnamed.items():
                    by_part.setdefault(part, Counter())[place] += round(share * count)
            self._listed[name] = {
                part: {subset: (files[subset, 0], files[subset, 1]) for subset in {s for s, _ in files}}
                for part, files in by_part.items()
            }
        return self._listed[name]

    def _picture(self, spec: Split) -> float | None:
        demo = self._config.demo
        if demo is not None and not self._config.benchmarks[spec.benchmark].roots:
            return next(iter(demo.photos.values())).side ** 2 / 1e6
        known = self._rates.pictures
        picture = known.get(f"{spec.benchmark}/{spec.part}") or known.get(spec.benchmark)
        return picture.megapixels if picture else None


def _mean(made: Sequence[tuple[dict[str, Counts], dict[str, float]]], part: str) -> float | None:
    """Mean megapixels of a part of several indexes."""
    known = [(counts[part], means[part]) for counts, means in made if part in means]
    sums = [(sum(n or 0 for labels in counts.values() for n in labels), mean) for counts, mean in known]
    images = sum(count for count, _ in sums)
    return sum(count * mean for count, mean in sums) / images if images else None


def _equal(column: Any, value: str) -> Any:
    import pyarrow.compute as pc

    return pc.equal(column, value)  # pyright: ignore[reportAttributeAccessIssue]


def expected(benchmark: Benchmark, spec: Split) -> Counts:
    """What a benchmark's counts say of a part. A label without a number is taken to be as many as the other."""
    counts: Counts = {}
    for subset, parts in benchmark.counts.items():
        if spec.part in parts:
            count = parts[spec.part]
            real, fake = count.real, count.fake
            if spec.part == "pretrain":
                counts[subset] = (real, 0)
            else:
                counts[subset] = (fake if real is None else real, real if fake is None else fake)
    return counts


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
        left_out = (spec.skip, 0) if spec.part == "pretrain" else (spec.skip // 2, spec.skip // 2)
        real, fake = (None if known is None else max(0, known - n) for known, n in zip(labels, left_out, strict=True))
        return real, fake
    half = spec.count if spec.part == "pretrain" else spec.count // 2
    return (half, 0 if spec.part == "pretrain" else half)
