"""The plan of the data: the demo's images, indexes of benchmarks, splits, and their decoded pixels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from tellsign.data.benchmarks import PARTS, Placed, folders_of_others, placed_folders
from tellsign.data.inventory import ImagesByFolder, digest_of
from tellsign.data.layouts import LAYOUTS
from tellsign.data.perturbations import PERTURBATIONS
from tellsign.errors import UserError, choose
from tellsign.plan.artifact import Artifact, Needs, Workshop, answered_once, digest
from tellsign.plan.configuration import Configuration, check_subsets, known_subsets, located
from tellsign.schema.data import Bias, DataPart, Perturbation, Split
from tellsign.schema.loading import plain
from tellsign.schema.training import Resize

NOT_FINGERPRINTED = ("watch", "counts", "tolerance", "on_short", "page", "get", "licence", "gigabytes")
"""Settings of a benchmark that no number follows from: what an index is compared with once it is made, and prose."""

Look = Callable[[Mapping[str, Path], Sequence[str], str], Mapping[str, ImagesByFolder]]
"""The images below each root outside the pipeline, by key; folders named in the second argument are left out, and the
third is the benchmark's ``watch``."""


def index_of(split: Artifact) -> Artifact:
    """An index that a split draws from; where it has several, all of them have the same roots."""
    return split.needs["index"][0][1]


class DataPlan:
    """Artifacts of data.

    Args:
        configuration: What it is the plan of.
        workshop: Makes the artifacts.
        look: Looks at folders of images.

    Attributes:
        missing_folders: Folders of published benchmarks that are not there → the benchmarks that want them.
    """

    def __init__(self, configuration: Configuration, workshop: Workshop, look: Look) -> None:
        self._configuration, self._config, self._folder = configuration, configuration.config, configuration.folder
        self._make, self._look = workshop.make, look
        self.missing_folders: dict[str, list[str]] = {}

    def demo_photos(self, part: str) -> Artifact:
        """One part of the demo's photographs."""
        if self._config.demo is None:
            raise UserError("a benchmark has layout 'demo', but the configuration has no 'demo' section.")
        return self._make("demo_photos", part, choose(self._config.demo.photos, part, "demo photos"))

    def demo_generator(self, name: str) -> Artifact:
        """The images of one demo generator."""
        assert self._config.demo is not None
        settings = choose(self._config.demo.generators, name, "demo generator")
        needs = {role: self.demo_photos(role) for role in ("source", "prompt_train", "prompt_test")}
        return self._make("demo_generator", name, settings, needs)

    @answered_once  # every crops asks, and digesting a folder takes a walk through it
    def index(self, benchmark: str, part: str = "", subset: str = "") -> Artifact:
        """The index of a benchmark, or of one subset's part of it."""
        spec = choose(self._config.benchmarks, benchmark, "benchmark")
        settings = plain(spec) | {"benchmark": benchmark, "on_bad": self._config.on_bad}
        for name in ("roots", *NOT_FINGERPRINTED):
            del settings[name]
        settings |= {"part": part, "subsets": [subset]} if subset else {}
        with located(f"benchmark {benchmark!r}"):
            entries = (LAYOUTS.find(spec.layout),)
        if spec.layout == "demo":
            demo = self._config.demo
            made = [(part, self.demo_photos(part)) for part in ("train", "test")]
            made += [(name, self.demo_generator(name)) for name in (demo.generators if demo else ())]
            return self._make("index", benchmark, settings, {"made": made}, entries=entries)
        if not spec.roots:
            made = [("pretrain", self.demo_photos("pretrain"))]
            return self._make("index", benchmark, settings, {"made": made}, entries=entries)
        folders = self._raw_folders(benchmark, [part] if part else self.parts_of(benchmark))
        held = {key: images for key, images in self.images(benchmark).items() if key in folders}
        with located(f"benchmark {benchmark!r}"):
            placed = self._placed(benchmark)
        expected = self._expected(benchmark, part, subset) | {"elsewhere": {}}
        if subset:
            expected["elsewhere"] = folders_of_others(placed, held, part, subset)
            own = {(one.root, one.path) for one in placed if (one.part, one.subset) == (part, subset)}
            held = {key: {f: i for f, i in images.items() if (key, f) in own} for key, images in held.items()}
        raw = {key: digest_of(held[key]) if key in held else "absent" for key in folders}
        roots = {key: str(path) for key, path in folders.items()}
        name = f"{benchmark}/{part}/{subset}" if subset else benchmark
        return self._make("index", name, settings, entries=entries, raw=raw, roots=roots, expected=expected)

    def indexes(self, benchmark: str, part: str, subsets: Sequence[str]) -> list[tuple[str, Artifact]]:
        """The indexes of a part: one for each subset where the configuration names their folders, else the benchmark's.

        Args:
            benchmark: The benchmark.
            part: The part.
            subsets: Its subsets; empty means all.
        """
        if not self._config.benchmarks[benchmark].folders:
            return [("", self.index(benchmark))]
        return [("", self.index(benchmark, part, one)) for one in sorted(subsets or self.subsets_in(benchmark, part))]

    @answered_once
    def subsets_in(self, benchmark: str, part: str) -> list[str]:
        """The subsets of a benchmark's part, of those that the configuration names: which are there, or should be."""
        spec = self._config.benchmarks[benchmark]
        placed = self._placed(benchmark)
        names = {one.subset for one in placed if one.part == part}
        if spec.on_short == "fail" or not names:
            names |= {subset for subset, parts in spec.counts.items() if part in parts}
        if spec.subsets:  # one that is nowhere is asked for all the same, so that its absence is told
            names = set(spec.subsets) - ({one.subset for one in placed} - names)
        return sorted(names or known_subsets(self._config, benchmark))

    @answered_once
    def _placed(self, benchmark: str) -> list[Placed]:
        """Of which subset, part and label the images of each folder are that is there."""
        spec = plain(self._config.benchmarks[benchmark]) | {"subsets": []}
        held = {key: {f: i.count for f, i in images.items()} for key, images in self.images(benchmark).items()}
        return placed_folders(held, spec) if held else []

    def parts_of(self, benchmark: str) -> list[str]:
        """The parts of a benchmark that splits draw from."""
        return sorted({split.part for split in self._config.splits.values() if split.benchmark == benchmark})

    @answered_once
    def images(self, benchmark: str) -> Mapping[str, ImagesByFolder]:
        """The images in a benchmark's roots outside the pipeline, as far as they are there."""
        spec = self._config.benchmarks[benchmark]
        folders = self._raw_folders(benchmark, self.parts_of(benchmark))
        there = {key: path for key, path in folders.items() if str(path) not in self.missing_folders}
        return self._look(there, spec.exclude, spec.watch)

    def _raw_folders(self, benchmark: str, parts: Collection[str]) -> dict[str, Path]:
        """A benchmark's roots that some parts need; those that are not there and can be got are noted as absent."""
        spec = self._config.benchmarks[benchmark]
        folders = {}
        for key, text in spec.roots.items():
            if key in get_args(DataPart) and key not in parts:
                continue
            name = benchmark if len(spec.roots) == 1 else f"{benchmark}/{key}"
            path = (self._folder / self._config.roots.get(name, text)).expanduser()
            if not path.is_dir():
                if not spec.page:
                    raise UserError(
                        f"benchmark {benchmark!r}: there is no folder {path} (root {key!r}). Give the right one in "
                        "the configuration, or by --config root=PATH where the configuration says {root}."
                    )
                users = self.missing_folders.setdefault(str(path), [])
                if name not in users:
                    users.append(name)
            folders[key] = path
        return folders

    def _expected(self, benchmark: str, own_part: str, own_subset: str) -> dict[str, Any]:
        """Counts that an index is held against, of what splits draw from, and where to get the set."""
        spec = self._config.benchmarks[benchmark]
        splits = [split for split in self._config.splits.values() if split.benchmark == benchmark]

        def drawn(subset: str, part: str) -> bool:
            if own_subset:
                return (part, subset) == (own_part, own_subset)
            return any(split.part == part and (not split.subsets or subset in split.subsets) for split in splits)

        counts = {
            subset: {part: plain(count) for part, count in parts.items() if drawn(subset, part)}
            for subset, parts in spec.counts.items()
            if not spec.subsets or subset in spec.subsets
        }
        rules = {name: getattr(spec, name) for name in ("tolerance", "on_short", "page", "get", "licence")}
        return rules | {"counts": counts, "folders": plain(spec.folders)}

    @answered_once
    def split(self, name: str, subsets: tuple[str, ...] = ()) -> Artifact:
        """A split by name; where its subsets have indexes of their own, the part of it that holds the ``subsets``.

        The order in which a subset's images are drawn does not depend on the other subsets.
        """
        spec, narrowed = choose(self._config.splits, name, "split"), name
        with located(f"split {name!r}"):
            benchmark = choose(self._config.benchmarks, spec.benchmark, "benchmark")
        whole = spec.subsets or (self.subsets_in(spec.benchmark, spec.part) if benchmark.folders else ())
        if subsets and benchmark.folders and set(subsets) != set(whole):
            spec = spec.model_copy(update={"subsets": tuple(sorted(set(subsets)))})
            marked = "+".join(spec.subsets) if len(spec.subsets) < 4 else f"{len(spec.subsets)}-{digest(spec)[:4]}"
            narrowed = f"{name}/{marked}"
        settings = plain(spec)
        del settings["benchmark"]
        if folders := self._subset_folders(spec.benchmark):
            check_subsets(name, spec, folders)
        settings |= {"on_bad": self._config.on_bad}
        index = self.indexes(spec.benchmark, spec.part, spec.subsets)
        later = [one for one in self._looked_at_later(spec) if one not in index]
        needs: Needs = {"index": index, "later": later or None}
        return self._make("split", narrowed, settings, needs)

    def _looked_at_later(self, spec: Split) -> list[tuple[str, Artifact]]:
        """The indexes that splits of later parts draw from, whose images must not be in this one."""
        found: dict[Artifact, None] = {}
        for split in self._config.splits.values():
            if split.benchmark == spec.benchmark and PARTS.index(split.part) > PARTS.index(spec.part):
                found |= dict.fromkeys(index for _, index in self.indexes(split.benchmark, split.part, split.subsets))
        return [("", index) for index in sorted(found, key=lambda index: index.name)]

    def known_subsets(self, split: str) -> list[str]:
        """Subsets that a split has; none where only its images know."""
        spec = self._config.splits[split]
        benchmark = spec.benchmark
        return list(spec.subsets) or known_subsets(self._config, benchmark) or self._subset_folders(benchmark)

    @answered_once
    def _subset_folders(self, benchmark: str) -> list[str]:
        """The user's own folders of subsets; none of other layouts, or where a root is not there."""
        roots = [Path(root) for root in self.index(benchmark).roots.values()]
        if self._config.benchmarks[benchmark].layout != "folder" or any(str(p) in self.missing_folders for p in roots):
            return []
        return [p.name for root in roots for p in sorted(root.iterdir()) if p.is_dir()]

    def crops(
        self,
        split: str,
        store: str,
        size: int,
        perturbation: Perturbation,
        bias: Bias,
        resize: Resize | None = None,
        subsets: tuple[str, ...] = (),
    ) -> Artifact:
        """Decoded pixels of a split, or of its ``subsets``: ``whole`` images or ``center`` crops, resized or not."""
        made = self.split(split, subsets)
        marks = [made.name, store if store == "whole" else f"center{size}"]
        settings: dict[str, Any] = {"store": store, "size": size if store == "center" else 0}
        settings["perturbation"] = plain(perturbation)
        if perturbation.name != "none":
            marks.append(f"{perturbation.name}-{digest(perturbation)[:4]}")
        settings |= {"bias_control": bias.control, "bias_size": 0, "bias_quality": 0}
        if bias.control != "none":
            settings |= {"bias_quality": bias.quality}
            settings |= {"bias_size": bias.size} if bias.control == "jpeg+size" else {}
            marks.append(f"{bias.control.replace('+', '-')}-{digest(bias)[:4]}")
        settings["resize"] = plain(resize)
        if resize is not None:
            marks.append(f"{resize.mode}{resize.size}-{digest(resize)[:4]}")
        index = index_of(made)
        needs = {"split": made, "made": index.needs.get("made") or None}
        entries = (PERTURBATIONS.find(perturbation.name),)
        return self._make("crops", "-".join(marks), settings, needs, entries=entries, roots=index.roots)
