"""The plan of the data: the demo's images, indexes of benchmarks, splits, and their decoded pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from tellsign.data.inventory import ImagesByFolder, digest_of
from tellsign.data.layouts import LAYOUTS
from tellsign.data.perturbations import PERTURBATIONS
from tellsign.errors import UserError, choose
from tellsign.plan.artifact import Artifact, Workshop, answered_once, digest
from tellsign.plan.configuration import Configuration, check_subsets, known_subsets, located
from tellsign.schema.data import Bias, DataPart, Perturbation
from tellsign.schema.loading import plain
from tellsign.schema.training import Resize

NOT_FINGERPRINTED = ("watch", "counts", "tolerance", "on_short", "page", "get", "licence", "gigabytes")
"""Settings of a benchmark that no number follows from: what the index is compared with once it is made, and prose."""

Look = Callable[[Mapping[str, Path], Sequence[str], str], Mapping[str, ImagesByFolder]]
"""The images below each root outside the pipeline, by key; folders named in the second argument are left out, and the
third is the benchmark's ``watch``."""


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
    def index(self, benchmark: str) -> Artifact:
        """The index of a benchmark."""
        spec = choose(self._config.benchmarks, benchmark, "benchmark")
        settings = plain(spec) | {"benchmark": benchmark, "on_bad": self._config.on_bad}
        for name in ("roots", *NOT_FINGERPRINTED):
            del settings[name]
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
        folders = self._raw_folders(benchmark)
        held = self.images(benchmark)
        raw = {key: digest_of(held[key]) if key in held else "absent" for key in folders}
        roots = {key: str(path) for key, path in folders.items()}
        expected = self._expected(benchmark)
        return self._make("index", benchmark, settings, entries=entries, raw=raw, roots=roots, expected=expected)

    @answered_once
    def images(self, benchmark: str) -> Mapping[str, ImagesByFolder]:
        """The images in a benchmark's roots outside the pipeline, as far as they are there."""
        spec = self._config.benchmarks[benchmark]
        folders = self._raw_folders(benchmark)
        there = {key: path for key, path in folders.items() if str(path) not in self.missing_folders}
        return self._look(there, spec.exclude, spec.watch)

    def _raw_folders(self, benchmark: str) -> dict[str, Path]:
        """A benchmark's roots that any split needs; those that are not there and can be got are noted as absent."""
        spec = self._config.benchmarks[benchmark]
        parts = {split.part for split in self._config.splits.values() if split.benchmark == benchmark}
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

    def _expected(self, benchmark: str) -> dict[str, Any]:
        """Counts that the index is held against, of what splits draw from, and where to get the set."""
        spec = self._config.benchmarks[benchmark]
        splits = [split for split in self._config.splits.values() if split.benchmark == benchmark]

        def drawn(subset: str, part: str) -> bool:
            return any(split.part == part and (not split.subsets or subset in split.subsets) for split in splits)

        counts = {
            subset: {part: plain(count) for part, count in parts.items() if drawn(subset, part)}
            for subset, parts in spec.counts.items()
            if not spec.subsets or subset in spec.subsets
        }
        rules = {name: getattr(spec, name) for name in ("tolerance", "on_short", "page", "get", "licence")}
        return rules | {"counts": counts, "folders": plain(spec.folders)}

    @answered_once
    def split(self, name: str) -> Artifact:
        """A split by name."""
        spec = choose(self._config.splits, name, "split")
        settings = plain(spec)
        del settings["benchmark"]
        with located(f"split {name!r}"):
            choose(self._config.benchmarks, spec.benchmark, "benchmark")
        index = self.index(spec.benchmark)
        if folders := self._subset_folders(spec.benchmark):
            check_subsets(name, spec, folders)
        return self._make("split", name, settings, {"index": index})

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
    ) -> Artifact:
        """Decoded pixels of a split: ``whole`` images or ``center`` crops, resized or not."""
        spec = choose(self._config.splits, split, "split")
        marks = [split, store if store == "whole" else f"center{size}"]
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
        index = self.index(spec.benchmark)
        needs = {"split": self.split(split), "made": index.needs.get("made") or None}
        entries = (PERTURBATIONS.find(perturbation.name),)
        return self._make("crops", "-".join(marks), settings, needs, entries=entries, roots=index.roots)
