"""What each artifact is made from, and therefore where it lives.

An artifact's path carries a fingerprint: a digest of its stage's code, of the settings the stage reads, and of the
fingerprints of what it needs. Equal recipe, equal path, in any clone: an artifact is current exactly when its file
exists. Plain Python: no Snakemake, no torch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tellsign.detectors.registry import METHODS
from tellsign.errors import UserError, choose
from tellsign.methods.masks import MASKS
from tellsign.networks.captioners import CAPTIONERS
from tellsign.networks.grounders import GROUNDERS
from tellsign.networks.weights import NLTK, MissingWeightsError, ResolvedWeights
from tellsign.plan.fingerprint import code_digest
from tellsign.registry import Record
from tellsign.results.figures import METRIC_KINDS, complete_spec
from tellsign.results.tables.specification import read_spec
from tellsign.schema.annotation import Annotate, Glip, NoCaptioner, NoGrounder
from tellsign.schema.config import Config
from tellsign.schema.data import Bias, Perturbation, Test
from tellsign.schema.evaluation import Evaluate
from tellsign.schema.loading import build, differences, merge, plain
from tellsign.schema.paper import Paper, PaperFile
from tellsign.schema.paper_files import read_paper_file, run_specs
from tellsign.schema.strict_yaml import read_yaml
from tellsign.schema.training import Data, EarlyStopping, FeatureRecipe, Pretrain, Recipe, Resize
from tellsign.stages.registry import STAGES

T = TypeVar("T")

# Settings of a benchmark that no number follows from: what is compared with the index once it is made, and prose.
NOT_FINGERPRINTED = ("watch", "counts", "tolerance", "on_short", "page", "get", "licence", "gigabytes")
PARTS = ("pretrain", "train", "val", "test")

# What --config gives, and how a message asks for it.
WANTED = {"root": "PATH", "train": "SUBSET", "photos": "PATH", "data": "FOLDER"}


@dataclass(frozen=True)
class Artifact:
    """One file or folder that a stage makes.

    Attributes:
        stage: The stage, its rule, module, folder and log share this name.
        name: What it is, for people: ``mpft/tam-s0``.
        settings: Everything outside its inputs that can change it.
        needs: Inputs by role; each is a list of (key, artifact), the key empty where order or kind says enough.
        entries: Records of registries that the settings choose; their code enters, their neighbours' does not.
        raw: Content digests of folders outside the pipeline, by key.
        roots: Those folders, by key (they do not enter the fingerprint).
        pin: A fingerprint that the configuration holds for it.
        expected: What its job holds its result against, which decides whether there is one but never what it is:
            counts, sources.
        store: Folder of rows that were made before and that other artifacts share; it saves time and changes
            nothing.
    """

    stage: str
    name: str
    settings: dict[str, Any]
    needs: dict[str, list[tuple[str, Artifact]]] = field(default_factory=dict)
    entries: tuple[Record, ...] = ()
    raw: dict[str, str] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    pin: str | None = None
    store: str = ""
    expected: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def recipe(self) -> dict[str, Any]:
        """What the fingerprint is taken of."""
        needs = {role: [(key, a.fingerprint) for key, a in held] for role, held in self.needs.items()}
        code = code_digest(f"tellsign.stages.{self.stage}", *(entry.module for entry in self.entries))
        recipe = {"code": code, "settings": without_places(self.settings), "needs": needs, "raw": self.raw}
        chosen = [[entry.attribute, dict(entry.options)] for entry in self.entries]
        return recipe | {"entries": chosen} if chosen else recipe

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits."""
        return self.pin or digest(self.recipe)[:12]

    @functools.cached_property
    def path(self) -> str:
        """Where it lives, relative to the working folder."""
        return STAGES[self.stage].path_of(self.name, self.fingerprint)


def digest(value: Any) -> str:
    """Hex sha256 of plain data; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()


def without_places(value: Any) -> Any:
    """Plain data without the places of weights whose digest stands beside: the same file may lie anywhere."""
    if isinstance(value, Mapping):
        known = value.get("digest") not in (None, "none")
        return {k: without_places(v) for k, v in value.items() if not (known and k == "weights")}
    return [without_places(v) for v in value] if isinstance(value, list) else value


def missing_weights(value: Any) -> set[str]:
    """The ``weights:`` in plain data that are marked as missing."""
    if isinstance(value, Mapping):
        own = {value["weights"]} if value.get("digest") == "missing" and "weights" in value else set()
        return own.union(*(missing_weights(v) for v in value.values()))
    return set().union(*map(missing_weights, value)) if isinstance(value, list) else set()


@dataclass(frozen=True)
class Run:
    """A recipe of a paper with the seeds and test sets it is wanted for."""

    paper: str
    name: str
    recipe: Recipe | FeatureRecipe
    seeds: tuple[int, ...]
    tests: tuple[str, ...]


def training_key(run: Run) -> str:
    """Equal for runs that are one training, whatever they keep of it. Names of sections mean something in a paper."""
    recipe = run.recipe
    own = isinstance(recipe, FeatureRecipe) or recipe.start is not None
    return digest([plain(recipe) | {"keep": 0, "resize_test": None, "crop_test": None}, run.paper if own else ""])


def remembered(method: Callable[..., T]) -> Callable[..., T]:
    """Let a method of the plan answer a question that was asked before from memory; tables share hundreds of runs.

    Runs and artifacts are told apart by identity; every other argument must be a name or a number.
    """

    @functools.wraps(method)
    def answer(plan: Plan, *args: Any) -> T:
        key = (method.__name__, *(id(a) if isinstance(a, (Run, Artifact)) else a for a in args))
        if key not in plan._answers:
            plan._answers[key] = (method(plan, *args), args)  # arguments are kept, so that their ids stay theirs
        return plan._answers[key][0]

    return answer


def named_under(node: Any, key: str) -> list[str]:
    """Every text that stands under ``key`` anywhere in plain data, in order, once each."""
    if isinstance(node, Mapping):
        found = [node[key]] if isinstance(node.get(key), str) else []
        return list(dict.fromkeys(found + [n for value in node.values() for n in named_under(value, key)]))
    if isinstance(node, list):
        return list(dict.fromkeys(n for value in node for n in named_under(value, key)))
    return []


def unfilled(value: Any) -> set[str]:
    """Names in braces that stand anywhere in plain data and that ``--config`` did not give."""
    return set(re.findall(r"\{(\w+)\}", json.dumps(plain(value))))


def fill(value: Any, given: Mapping[str, str]) -> Any:
    """Replace ``{root}`` and the like in every string of plain data."""
    if isinstance(value, str):
        for key, text in given.items():
            value = value.replace("{" + key + "}", text)
        return value
    if isinstance(value, Mapping):
        return {fill(k, given): fill(v, given) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, given) for v in value]
    return value


def included(benchmarks: Any, folder: Path) -> Any:
    """The configuration's benchmarks as one mapping.

    Args:
        benchmarks: A mapping; or the path of a YAML file that holds one; or a mapping with such a path under
            ``include``, over which the rest is merged key by key.
        folder: Where a relative path starts.

    Raises:
        UserError: the file is missing or holds no mapping.
    """
    if isinstance(benchmarks, str):
        benchmarks = {"include": benchmarks}
    if not isinstance(benchmarks, Mapping) or not isinstance(benchmarks.get("include"), str):
        return benchmarks
    held = read_yaml(folder / benchmarks["include"])
    if not isinstance(held, Mapping):
        raise UserError(f"{benchmarks['include']}: expected a mapping of benchmarks, got {held!r}.")
    return merge(held, {name: spec for name, spec in benchmarks.items() if name != "include"})


def check_together(recipe: Recipe | FeatureRecipe, where: str) -> None:
    """Refuse settings that are right alone and wrong together.

    Raises:
        UserError: says which, and what to write instead.
    """
    nearest = recipe.head.name == "nearest"
    if isinstance(recipe, FeatureRecipe):
        if nearest:
            raise UserError(f"{where}: the head 'nearest' stores image features; for method: features take another.")
        return
    if nearest and (recipe.epochs != 0 or recipe.trainable != "head" or recipe.stop is not None):
        raise UserError(f"{where}: the head 'nearest' trains nothing; write epochs: 0, trainable: head, no stop.")
    if nearest and recipe.head.k % 2 == 0:
        raise UserError(f"{where}: head.k is {recipe.head.k}; it must be odd, so that one class is in the majority.")
    if not nearest and recipe.epochs == 0:
        raise UserError(f"{where}: 0 epochs train nothing; only the head 'nearest' goes without.")
    if recipe.stop is not None and (recipe.keep != 1 or recipe.shots is not None):
        raise UserError(f"{where}: early stopping keeps the best epoch alone; write keep: 1 and no shots, or no stop.")
    if recipe.optimiser.nesterov and not recipe.optimiser.momentum:
        raise UserError(f"{where}: optimiser.nesterov needs a momentum above 0.")
    if recipe.schedule.warmup > recipe.epochs:
        raise UserError(f"{where}: schedule.warmup is {recipe.schedule.warmup} of {recipe.epochs} epochs.")
    if recipe.backbone.name == "npr" and (recipe.crop % 2 or (recipe.crop_test or 0) % 2):
        raise UserError(f"{where}: NPR looks at cells of 2 × 2 pixels; crop and crop_test must be even.")


class Plan:
    """All artifacts of a configuration.

    Args:
        config: The configuration as plain data.
        raw_digests: Gives the digest of each folder outside the pipeline, by key; folders named in the second
            argument are left out, and the third is the benchmark's ``watch``.
        file_digest: Gives the sha256 of a file.
        find_weights: Gives the place and digest of what a ``weights:`` names
            (`tellsign.networks.weights.WeightsCatalogue.find`).
        folder: Where relative paths of the configuration start.

    Attributes:
        papers: The papers by name.
        runs: Every run by ``paper/name``.
        missing: What ``weights:`` names and is not there. The plan goes on without, so that a dry run shows the whole;
            nothing may be run then.
        missing_folders: Folders of published benchmarks that are not there → the benchmarks that want them. The plan
            goes on without in the same way; see `missing_data_report`.

    Raises:
        UserError: anything in the configuration that cannot be right; nothing has been run by then.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        raw_digests: Callable[[dict[str, Path], tuple[str, ...], str], dict[str, str]],
        file_digest: Callable[[Path], str],
        find_weights: Callable[[str], ResolvedWeights],
        folder: Path,
    ) -> None:
        given = {k: str(config[k]) for k in WANTED if config.get(k) is not None}
        stored = dict(config) | given | {"benchmarks": included(config.get("benchmarks"), folder)}
        if "root" in given:
            given.setdefault("photos", f"{given['root']}/photos")
        self.config = build(Config, fill(stored, given), "config")
        missing = sorted(unfilled([self.config.benchmarks, self.config.splits]) - {"photos"})
        if missing:
            wanted = " ".join(f"{name}={WANTED.get(name, 'VALUE')}" for name in missing)
            raise UserError(f"configuration {self.config.name!r} needs more: add --config {wanted} to the command.")
        self._raw_digests, self._file_digest, self._folder = raw_digests, file_digest, folder
        self._find_weights = find_weights
        self._answers: dict[tuple[Any, ...], tuple[Any, tuple[Any, ...]]] = {}
        self._held: dict[str, ResolvedWeights | None] = {}  # hundreds of runs name the same; None is missing
        self.missing: set[str] = set()
        self.missing_folders: dict[str, list[str]] = {}
        self._check_data()
        self.papers: dict[str, Paper] = {}
        self.runs: dict[str, Run] = {}
        for entry in self.config.papers:
            self._read_paper(entry, given)
        # of equal trainings that are wanted with more or fewer epochs, the one that keeps most is made
        self._training = {full: training_key(run) for full, run in self.runs.items()}
        self._keeps: dict[tuple[str, int], int] = {}
        for full, run in self.runs.items():
            for seed in run.seeds:
                key = (self._training[full], seed)
                self._keeps[key] = max(self._keeps.get(key, 0), run.recipe.keep)
        self._made: dict[tuple[str, str], Artifact] = {}
        self._by_recipe: dict[tuple[str, str], Artifact] = {}

    # -------------------------------------------------------------------------------------------- papers

    def _read_paper(self, entry: PaperFile | str, given: Mapping[str, str]) -> None:
        file = Path(entry if isinstance(entry, str) else entry.file).name
        paper = build(Paper, fill(read_paper_file(entry, self._folder), given), file)
        self.papers[paper.paper] = paper
        found: dict[str, Run] = {}
        for name, spec in run_specs(paper, file).items():
            where = f"{file}: run {name}"
            seeds = tuple(spec.pop("seeds", paper.seeds))
            tests = tuple(spec.pop("tests", ["test"] if "test" in paper.tests else list(paper.tests)))
            for test in tests:
                choose(paper.tests, test, f"test set of {where}")
            kind = choose(
                {"image": Recipe, "features": FeatureRecipe}, spec.get("method", "image"), f"method of {where}"
            )
            recipe = build(kind, spec, where)
            check_together(recipe, where)
            found[f"{paper.paper}/{name}"] = Run(paper.paper, name, recipe, seeds, tests)
        self.runs |= found
        if isinstance(entry, PaperFile) and not (entry.tables is None and entry.figures is None):
            for unused in found.keys() - self._shown(paper):
                del self.runs[unused]
            self.papers[paper.paper] = self._without_unused(paper)

    def _without_unused(self, paper: Paper) -> Paper:
        """A paper without the annotations and encoders that none of its runs and figures needs."""
        recipes = [run.recipe for run in self.runs.values() if run.paper == paper.paper]
        annotations = {recipe.annotate for recipe in recipes if isinstance(recipe, FeatureRecipe)}
        starts = {str(recipe.start) for recipe in recipes if isinstance(recipe, Recipe)}
        encoders = {start.removeprefix("pretrain:") for start in starts} | {*named_under(paper.figures, "encoder")}
        return paper.model_copy(
            update={
                "annotate": {name: spec for name, spec in paper.annotate.items() if name in annotations},
                "pretrain": {name: spec for name, spec in paper.pretrain.items() if name in encoders},
            }
        )

    def _shown(self, paper: Paper) -> set[str]:
        """Runs of a paper that its tables and figures show, and those that they start from."""
        todo = self.runs_in(paper.paper, [*paper.tables.values(), *paper.figures.values()])
        found: set[str] = set()
        while todo:
            run = todo.pop()
            found.add(f"{run.paper}/{run.name}")
            start = run.recipe.start if isinstance(run.recipe, Recipe) else None
            if start and start.startswith("run:"):
                todo.append(self.run(run.paper, start.removeprefix("run:")))
        return found

    def run(self, paper: str, name: str) -> Run:
        """Find a run by ``name`` (of ``paper``) or ``other-paper/name``."""
        full = name if "/" in name else f"{paper}/{name}"
        return choose(self.runs, full, "run")

    # -------------------------------------------------------------------------------------------- making

    def _make(self, stage: str, name: str, settings: Any, **needs: Any) -> Artifact:
        raw, roots, store = needs.pop("raw", {}), needs.pop("roots", {}), needs.pop("store", "")
        expected, entries = needs.pop("expected", {}), needs.pop("entries", ())
        if (stage, name) in self._made:
            return self._made[stage, name]
        if {"", ".", ".."} & set(name.split("/")):
            raise UserError(f"{name!r} cannot name a {stage}: its files would lie outside data/{stage}/. Rename it.")
        held = {role: v if isinstance(v, list) else [("", v)] for role, v in needs.items() if v is not None}
        pin = self.config.pins.get(f"{stage}/{name}")
        made = Artifact(stage, name, plain(settings), held, entries, raw, roots, pin, store, expected)
        # equal recipes under two names (a main run and a grid's cell) are one artifact, made once
        made = self._by_recipe.setdefault((stage, made.fingerprint), made)
        self._made[stage, name] = made
        return made

    def network(self, name: str, weights: str, where: str) -> dict[str, str]:
        """Settings of a network: its name, and the place and digest of its weights."""
        if weights == "shipped" and not name.startswith("demo"):
            raise UserError(
                f"{where}: weights: shipped – only the demo's networks have weights that ship with the package, "
                f"{name} has not. Give weights a name of config/weights.yaml, a path, or none (random)."
            )
        if weights not in self._held:
            try:
                self._held[weights] = self._find_weights(weights)
            except MissingWeightsError:
                self._held[weights] = None
                self.missing.add(weights)
            except UserError as problem:
                raise UserError(f"{where}: {problem}") from None
        held = self._held[weights]
        if held is None:
            return {"name": name, "weights": weights, "digest": "missing"}
        return {"name": name, "weights": held.path, "digest": held.digest}

    def networks_needed(self) -> dict[str, list[str]]:
        """What the configuration gives as ``weights:``, with the runs and sections that say so. Reads no data."""
        found: dict[str, list[str]] = {}

        def note(weights: str, where: str) -> None:
            users = found.setdefault(weights, [])
            if where not in users:
                users.append(where)

        for full, run in self.runs.items():
            if isinstance(run.recipe, Recipe) and run.recipe.start is None:
                note(run.recipe.backbone.weights, full)
        for paper in self.papers.values():
            used = self._sections_used(paper)
            for name, spec in paper.annotate.items():
                if name not in used:
                    continue
                where = f"{paper.paper}: annotate {name}"
                note(spec.clip.weights, where)
                for part in (spec.captioner, spec.grounder):
                    if not isinstance(part, (NoCaptioner, NoGrounder)):
                        note(part.weights, where)
                if isinstance(spec.grounder, Glip) and spec.grounder.name != "glip":
                    note(spec.grounder.tokenizer, where)
                if isinstance(spec.grounder, Glip) and spec.grounder.grammar == "nltk":
                    note(NLTK, where)
            for name, spec in paper.pretrain.items():
                if name in used:
                    note(spec.backbone.weights, f"{paper.paper}: pretrain {name}")
        return found

    def _sections_used(self, paper: Paper) -> set[str]:
        """Sections of ``annotate`` and ``pretrain`` that a run or a figure of the paper names."""
        recipes = [run.recipe for run in self.runs.values() if run.paper == paper.paper]
        figures = list(paper.figures.values())
        used = {*named_under(figures, "annotate"), *named_under(figures, "encoder")}
        used |= {recipe.annotate for recipe in recipes if isinstance(recipe, FeatureRecipe)}
        starts = [recipe.start or "" for recipe in recipes if isinstance(recipe, Recipe)]
        return used | {start.partition(":")[2] for start in starts if start.startswith("pretrain:")}

    # -------------------------------------------------------------------------------------------- data

    def demo_photos(self, part: str) -> Artifact:
        """One part of the demo's photographs."""
        if self.config.demo is None:
            raise UserError("a benchmark has layout 'demo', but the configuration has no 'demo' section.")
        return self._make("demo_photos", part, choose(self.config.demo.photos, part, "demo photos"))

    def demo_generator(self, name: str) -> Artifact:
        """The images of one demo generator."""
        assert self.config.demo is not None
        settings = choose(self.config.demo.generators, name, "demo generator")
        needs = {role: self.demo_photos(role) for role in ("source", "prompt_train", "prompt_test")}
        return self._make("demo_generator", name, settings, **needs)

    def index(self, benchmark: str) -> Artifact:
        """The index of a benchmark."""
        if ("index", benchmark) in self._made:  # every crops asks, and digesting a folder takes a walk through it
            return self._made["index", benchmark]
        spec = choose(self.config.benchmarks, benchmark, "benchmark")
        settings = plain(spec) | {"benchmark": benchmark, "on_bad": self.config.on_bad}
        for name in ("roots", *NOT_FINGERPRINTED):
            del settings[name]
        if spec.layout == "demo":
            demo = self.config.demo
            held = [(part, self.demo_photos(part)) for part in ("train", "test")]
            held += [(name, self.demo_generator(name)) for name in (demo.generators if demo else ())]
            return self._make("index", benchmark, settings, made=held)
        if not spec.roots:
            held = [("pretrain", self.demo_photos("pretrain"))]
            return self._make("index", benchmark, settings, made=held)
        folders = self._raw_folders(benchmark)
        there = {key: path for key, path in folders.items() if str(path) not in self.missing_folders}
        raw = dict.fromkeys(folders, "absent") | self._raw_digests(there, spec.exclude, spec.watch)
        roots = {key: str(path) for key, path in folders.items()}
        return self._make("index", benchmark, settings, raw=raw, roots=roots, expected=self._expected(benchmark))

    def _check_data(self) -> None:
        """What benchmarks and splits say of one another.

        Raises:
            UserError: a root that is replaced, or a subset that is named, is not known.
        """
        known = {}
        for name, spec in self.config.benchmarks.items():
            known |= {f"{name}/{key}": name for key in spec.roots} if len(spec.roots) > 1 else {name: name}
            for field_name in ("reals", "counts"):
                for subset in getattr(spec, field_name) if spec.folders else ():
                    choose(spec.folders, subset, f"subset under {field_name!r} of benchmark {name!r}")
        for name in self.config.roots:
            choose(known, name, "root under 'roots'")
        for name, split in self.config.splits.items():
            if split.fallback is not None and split.per_class is None:
                raise UserError(f"split {name!r} has a fallback but no per_class, which it stands in for.")
            benchmark = self.config.benchmarks.get(split.benchmark)
            folders = benchmark.folders if benchmark else {}
            for subset in split.subsets if folders else ():
                choose(folders, subset, f"subset of benchmark {split.benchmark!r} (split {name!r})")

    def _raw_folders(self, benchmark: str) -> dict[str, Path]:
        """A benchmark's roots that any split needs; those that are not there and can be got are noted as absent."""
        spec = self.config.benchmarks[benchmark]
        parts = {split.part for split in self.config.splits.values() if split.benchmark == benchmark}
        folders = {}
        for key, text in spec.roots.items():
            if key in PARTS and key not in parts:
                continue
            name = benchmark if len(spec.roots) == 1 else f"{benchmark}/{key}"
            path = (self._folder / self.config.roots.get(name, text)).expanduser()
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
        spec = self.config.benchmarks[benchmark]
        splits = [split for split in self.config.splits.values() if split.benchmark == benchmark]

        def drawn(subset: str, part: str) -> bool:
            return any(split.part == part and (not split.subsets or subset in split.subsets) for split in splits)

        counts = {
            subset: {part: plain(count) for part, count in parts.items() if drawn(subset, part)}
            for subset, parts in spec.counts.items()
            if not spec.subsets or subset in spec.subsets
        }
        rules = {name: getattr(spec, name) for name in ("tolerance", "on_short", "page", "get", "licence")}
        return rules | {"counts": counts, "folders": plain(spec.folders)}

    def missing_inputs(self, artifacts: Iterable[Artifact]) -> tuple[set[str], set[str]]:
        """What artifacts and all that they need lack: values of ``weights:``, and folders of images."""
        weights, folders = set[str](), set[str]()
        todo, seen = list(artifacts), set[str]()
        while todo:
            artifact = todo.pop()
            if artifact.path not in seen:
                seen.add(artifact.path)
                weights |= missing_weights(artifact.settings)
                folders |= set(artifact.roots.values()) & self.missing_folders.keys()
                todo += [a for held in artifact.needs.values() for _, a in held]
        return weights, folders

    def missing_data_report(self, folders: Collection[str] | None = None) -> str:
        """Which folders are absent, of those given or of all, what of, and how to get each; empty when none is."""
        absent = {path: users for path, users in self.missing_folders.items() if folders is None or path in folders}
        if not absent:
            return ""
        lines = [f"{len(absent)} folders of images are not there:"]
        listed: set[tuple[str, str]] = set()
        for path, users in absent.items():
            lines.append(f"\n  {path}   ({', '.join(users)})")
            benchmark = users[0].partition("/")[0]
            spec = self.config.benchmarks[benchmark]
            source = (spec.page, spec.get)
            if source in listed:
                continue
            listed.add(source)
            size = f", about {spec.gigabytes:g} GB" if spec.gigabytes else ""
            lines.append(f"    {spec.page} (licence: {spec.licence or 'not stated'}{size})")
            lines += [f"    {spec.get}"] if spec.get else []
        names = dict.fromkeys(name for users in absent.values() for name in users)
        lines.append(
            "\nPut them there or link to them, give the folder that holds them all by --config data=FOLDER, or give "
            f"single ones in the configuration under\n  roots: {{{next(iter(names))}: PATH}}"
        )
        return "\n".join(lines)

    @remembered
    def split(self, name: str) -> Artifact:
        """A split by name."""
        spec = choose(self.config.splits, name, "split")
        settings = plain(spec)
        del settings["benchmark"]
        index = self.index(spec.benchmark)
        if self.config.benchmarks[spec.benchmark].layout == "folder":
            found = {p.name: p for root in index.roots.values() for p in sorted(Path(root).iterdir()) if p.is_dir()}
            for subset in spec.subsets:
                choose(found, subset, f"subset of benchmark {spec.benchmark!r} (split {name!r})")
        return self._make("split", name, settings, index=index)

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
        spec = choose(self.config.splits, split, "split")
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
        held = index.needs.get("made", [])
        needs = {"split": self.split(split), "made": held or None}
        return self._make("crops", "-".join(marks), settings, **needs, roots=index.roots)

    # -------------------------------------------------------------------------------------------- TIDY's caches

    @remembered
    def embed(self, paper: str, annotate: str, crops: Artifact) -> Artifact:
        """CLIP embeddings of images, captions and objects."""
        spec = choose(self.papers[paper].annotate, annotate, f"annotate section of {paper}")
        where = f"{paper}: annotate {annotate}"
        name = f"{crops.name}-{digest(spec)[:4]}"
        caption, ground = self._annotations(spec, crops, name, where)
        clip = self.network(spec.clip.name, spec.clip.weights, where)
        made = self._made_from({"clip": clip}, crops, "tellsign.networks.embedding")
        store = self._store("embed", spec.clip.name, made)
        needs = {"crops": crops, "caption": caption, "ground": ground, "store": store}
        return self._make("embed", name, {"clip": clip, "made": made}, **needs)

    def _annotations(
        self, spec: Annotate, crops: Artifact, name: str, where: str
    ) -> tuple[Artifact | None, Artifact | None]:
        if isinstance(spec.captioner, NoCaptioner):
            return None, None
        captioner = plain(spec.captioner) | self.network(spec.captioner.name, spec.captioner.weights, where)
        made = self._made_from({"captioner": captioner}, crops, CAPTIONERS[spec.captioner.name])
        settings: dict[str, Any] = {"captioner": captioner, "made": made}
        store = self._store("caption", spec.captioner.name, made)
        caption = self._make("caption", name, settings, crops=crops, store=store)
        if isinstance(spec.grounder, NoGrounder):
            return caption, None
        grounder = plain(spec.grounder) | self.network(spec.grounder.name, spec.grounder.weights, where)
        if isinstance(spec.grounder, Glip):
            own = spec.grounder.name == "glip"
            grounder["tokenizer"] = None if own else self.network("tokenizer", spec.grounder.tokenizer, where)
            if spec.grounder.grammar == "nltk":
                grounder["grammar_data"] = self.network("nltk", NLTK, where)
        made = self._made_from({"grounder": grounder}, crops, GROUNDERS[spec.grounder.name])
        settings = {"grounder": grounder, "threshold": spec.threshold, "made": made}
        store = self._store("ground", spec.grounder.name, made)
        return caption, self._make("ground", name, settings, crops=crops, caption=caption, store=store)

    def _made_from(self, network: dict[str, Any], crops: Artifact, *modules: str) -> dict[str, Any]:
        """What rows of a store depend on but the image: the network, the code, and how pixels came about."""
        pixels = digest({"code": crops.recipe["code"], "settings": crops.settings})[:12]
        code = [code_digest(module) for module in ("tellsign.data.pixels", *modules)]
        return without_places(network) | {"code": code, "pixels": pixels}

    def _store(self, stage: str, name: str, made: dict[str, Any]) -> str:
        """The folder of a store."""
        return f"data/store/{stage}-{name}.{digest(made)[:12]}"

    # -------------------------------------------------------------------------------------------- training

    @remembered
    def pretrain(self, paper: str, name: str) -> Artifact:
        """An encoder of `rescale`'s pre-training."""
        spec: Pretrain = choose(self.papers[paper].pretrain, name, f"pretrain section of {paper}")
        where = f"{paper}: pretrain {name}"
        settings = plain(spec) | {"backbone": self.network(spec.backbone.name, spec.backbone.weights, where)}
        del settings["split"], settings["decode"]
        if spec.decode == "on_the_fly":
            split = self.split(spec.split)
            index = self.index(self.config.splits[spec.split].benchmark)
            needs = {"split": split, "made": index.needs.get("made", []) or None}
            return self._make("pretrain", f"{paper}/{name}", settings, **needs, roots=index.roots)
        crops = self.crops(spec.split, "whole", 0, Perturbation(), Bias())
        return self._make("pretrain", f"{paper}/{name}", settings, crops=crops)

    @remembered
    def checkpoint(self, run: Run, seed: int) -> Artifact:
        """The checkpoint of a run at a seed."""
        name = f"{run.paper}/{run.name}-s{seed}"
        data: Data = run.recipe.data
        where = f"{run.paper}: run {run.name}"
        split = self.split(data.split)
        self._check_sample(data, where)
        settings = plain(run.recipe) | {
            "seed": seed,
            "keep": self._keeps[self._training[f"{run.paper}/{run.name}"], seed],
        }
        settings["data"] = {"subsets": list(data.subsets), "count": data.count}
        method, needs = METHODS.find(run.recipe.method), dict[str, Any]()
        del settings["bias"]
        resize = run.recipe.resize if isinstance(run.recipe, Recipe) else None
        crops = self.crops(data.split, "whole", 0, data.perturbation, run.recipe.bias, resize)
        if isinstance(run.recipe, FeatureRecipe):
            settings.pop("annotate")
            features = self.embed(run.paper, run.recipe.annotate, crops)
            needs = {"split": split, "inputs": [("features", features)]}
            return self._make("train_head", name, settings, **needs, entries=(method,))
        settings["backbone"] = self.network(run.recipe.backbone.name, run.recipe.backbone.weights, where)
        start = self._start(run, seed)
        settings["start"] = run.recipe.start.partition(":")[0] if run.recipe.start else None
        if start is not None:
            settings["backbone"] |= {"weights": "none", "digest": "none"}
        # resizing enters by the crops; tests enter nothing
        del settings["resize"], settings["resize_test"], settings["crop_test"]
        needs = {"split": split, "inputs": [("crops", crops)], "start": start}
        if (stop := run.recipe.stop) is not None:
            validation = self.split(stop.split)
            self._check_sample(stop, where)
            del settings["stop"]["split"]
            needs["validation_split"] = validation
            looked_at = self.crops(stop.split, "center", run.recipe.crop, Perturbation(), run.recipe.bias, resize)
            needs["validation_inputs"] = [("crops", looked_at)]
        return self._make("train", name, settings, **needs, entries=(method, MASKS.find(run.recipe.mask.name)))

    def _check_sample(self, asked: Data | EarlyStopping, where: str) -> None:
        split = self.config.splits[asked.split]
        for subset in asked.subsets if split.subsets else ():
            choose(dict.fromkeys(split.subsets), subset, f"subset of split {asked.split!r} in {where}")
        if isinstance(asked.count, int) and isinstance(split.count, int) and asked.count > split.count:
            raise UserError(
                f"{where}: count {asked.count} asks for more images a subset than split {asked.split!r} holds, "
                f"{split.count}. Ask for fewer, or raise the split's count."
            )

    def _start(self, run: Run, seed: int) -> Artifact | None:
        assert isinstance(run.recipe, Recipe)
        if run.recipe.start is None:
            if run.recipe.shots is not None:
                raise UserError(f"{run.paper}: run {run.name} has shots but no start: say start: run:NAME.")
            return None
        kind, _, name = run.recipe.start.partition(":")
        if kind == "pretrain":
            return self.pretrain(run.paper, name)
        if kind == "run":
            other = self.run(run.paper, name)
            if seed not in other.seeds:
                raise UserError(
                    f"{run.paper}: run {run.name} starts from run {name} at seed {seed}, which that run has not; "
                    f"its seeds are {list(other.seeds)}."
                )
            return self.checkpoint(other, seed)
        raise UserError(
            f"{run.paper}: run {run.name}: start is {run.recipe.start!r}; it must be pretrain:NAME or run:NAME."
        )

    # -------------------------------------------------------------------------------------------- scores to report

    @remembered
    def score(self, run: Run) -> Artifact:
        """Scores of all seeds of a run on all of its test sets."""
        name = f"{run.paper}/{run.name}"
        checkpoints = [(str(seed), self.checkpoint(run, seed)) for seed in run.seeds]
        settings: dict[str, Any] = {"paper": run.paper, "run": run.name, "keep": run.recipe.keep, "tests": {}}
        settings |= {"method": run.recipe.method, "view": {}}
        splits, inputs = [], []
        for test_name in run.tests:
            test: Test = self.papers[run.paper].tests[test_name]
            for split in test.splits:
                key = test_name if len(test.splits) == 1 else f"{test_name}.{split}"
                mark = "none" if test.perturbation.name == "none" else test_name
                settings["tests"][key] = {"benchmark": self._benchmark_of(test), "perturbation": mark}
                splits.append((key, self.split(split)))
                if isinstance(run.recipe, FeatureRecipe):
                    crops = self.crops(split, "whole", 0, test.perturbation, run.recipe.bias)
                    inputs.append((f"features@{key}", self.embed(run.paper, run.recipe.annotate, crops)))
                else:
                    settings["view"]["crop"] = side = run.recipe.crop_test or run.recipe.crop
                    resize = run.recipe.resize_test
                    crops = self.crops(split, "center", side, test.perturbation, run.recipe.bias, resize)
                    inputs.append((f"crops@{key}", crops))
        stage = "score_head" if isinstance(run.recipe, FeatureRecipe) else "score"
        needs = {"checkpoints": checkpoints, "splits": splits, "inputs": inputs}
        return self._make(stage, name, settings, **needs, entries=(METHODS.find(run.recipe.method),))

    def _benchmark_of(self, test: Test) -> str:
        """What the benchmark of a test set is called: that of its split, or those of its splits."""
        known = self.config.splits
        return "+".join(dict.fromkeys(choose(known, split, "split").benchmark for split in test.splits))

    def evaluate(self, run: Run, change: Mapping[str, Any] | None = None) -> Artifact:
        """Metrics of a run, from its scores alone; ``change`` is what a table's protocol says."""
        scores = self.score(run)
        checkpoint = self.checkpoint(run, run.seeds[0])
        protocol = self.protocol(change or {}, f"{run.paper}: run {run.name}")
        if protocol.validation is not None:
            choose(dict.fromkeys(run.tests), protocol.validation, f"validation test of {run.paper}/{run.name}")
        if protocol.pooled_reals != "none" and isinstance(run.recipe, Recipe) and run.recipe.shots is not None:
            raise UserError(
                f"{run.paper}: run {run.name} has shots, so each subset has a model of its own: reals of other subsets "
                "have no scores of it. Say pooled_reals: none in the protocol of its tables."
            )
        settings = plain(protocol) | {
            "protocol": differences(protocol, self.config.evaluate),
            "paper": run.paper,
            "run": run.name,
            "tests": scores.settings["tests"],
            "recipe": digest(plain(run.recipe))[:12],
            "code": checkpoint.recipe["code"],
            "data": digest([a.fingerprint for _, a in scores.needs["splits"]])[:12],
        }
        needs = {"scores": scores, "splits": scores.needs["splits"], "checkpoints": scores.needs["checkpoints"]}
        mark = f"-{digest(protocol)[:4]}" if settings["protocol"] else ""
        return self._make("evaluate", f"{run.paper}/{run.name}{mark}", settings, **needs)

    def protocol(self, change: Mapping[str, Any], where: str) -> Evaluate:
        """The configuration's ``evaluate`` with what a ``protocol`` says instead."""
        if not isinstance(change, Mapping):
            raise UserError(f"{where}: protocol is {change!r}; it says fields of evaluate, such as threshold: oracle.")
        return build(Evaluate, merge(plain(self.config.evaluate), change), f"{where}, protocol")

    def evaluations(self, paper: str, spec: Mapping[str, Any]) -> list[tuple[str, Artifact]]:
        """Metrics of a table: each run under each protocol that a cell of it asks for."""
        found: dict[str, Artifact] = {}
        rows, columns = (
            [one if isinstance(one, Mapping) else {} for one in held] if isinstance(held, list) and held else [{}]
            for held in (spec.get("rows"), spec.get("columns"))
        )
        for row in rows:
            for column in columns:
                cell = {**spec, **column, **row}
                named = {key: cell[key] for key in ("run", "runs", "grid") if cell.get(key)}
                for run in self.runs_in(paper, named):
                    made = self.evaluate(run, cell.get("protocol"))
                    found[made.path] = made
        return [("", made) for made in found.values()]

    def _named_protocols(self, node: Any, where: str) -> Any:
        """Plain data with each ``protocol`` replaced by its name, which stands in the metrics' rows."""
        if isinstance(node, Mapping):
            return {
                key: differences(self.protocol(value, where), self.config.evaluate)
                if key == "protocol"
                else self._named_protocols(value, where)
                for key, value in node.items()
            }
        return [self._named_protocols(value, where) for value in node] if isinstance(node, list) else node

    def runs_in(self, paper: str, spec: Any) -> list[Run]:
        """Runs that a table or figure names anywhere under ``run``, ``runs`` or ``grid``, in order, once each."""
        found: dict[str, Run] = {}

        def visit(node: Any) -> None:
            if isinstance(node, Mapping):
                for key, value in node.items():
                    if key == "run":
                        held = self.run(paper, value)
                        found[f"{held.paper}/{held.name}"] = held
                    elif key == "runs":
                        for name in value:
                            held = self.run(paper, name)
                            found[f"{held.paper}/{held.name}"] = held
                    elif key == "grid":
                        for grid in [value] if isinstance(value, str) else value:
                            choose(self.papers[paper].grids, grid, f"grid of {paper}")
                            for full, held in self.runs.items():
                                if full.startswith(f"{paper}/{grid}-"):
                                    found[full] = held
                    else:
                        visit(value)
            elif isinstance(node, list):
                for value in node:
                    visit(value)

        visit(spec)
        return list(found.values())

    def _presented(self, paper: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        settings = dict(spec) | {"paper": paper, "name": name, "banner": self.config.banner}
        settings["recipes"] = {r.name: plain(r.recipe) for r in self.runs_in(paper, spec)}
        return settings

    @remembered
    def table(self, paper: str, name: str) -> Artifact:
        """One table of a paper."""
        spec = choose(self.papers[paper].tables, name, f"table of {paper}")
        presented = self._presented(paper, name, self._named_protocols(spec, f"{paper}: table {name}"))
        settings = {"comparable": self.config.comparable} | presented
        read_spec(settings)
        published = self._folder / "config" / "published" / f"{paper}.csv"
        raw = {"published": self._file_digest(published)} if spec.get("quoted") else {}
        metrics = self.evaluations(paper, spec)
        roots = {"published": str(published)} if raw else {}
        needs = {"metrics": metrics, "indexes": self._tested_indexes(paper, spec) or None}
        needs["seen"] = self._seen_splits(paper, spec) or None
        return self._make("table", f"{paper}/{name}", settings, **needs, raw=raw, roots=roots)

    def _tested_indexes(self, paper: str, spec: Mapping[str, Any]) -> list[tuple[str, Artifact]]:
        """Indexes of the benchmarks that a table's runs are tested on, for what their files give away."""
        tests = [self.papers[run.paper].tests[name] for run in self.runs_in(paper, spec) for name in run.tests]
        benchmarks = dict.fromkeys(self.config.splits[split].benchmark for test in tests for split in test.splits)
        return [(name, self.index(name)) for name in benchmarks]

    def _seen_splits(self, paper: str, spec: Mapping[str, Any]) -> list[tuple[str, Artifact]]:
        """Splits that a table's runs saw before the test, for what of them is tested on as well."""
        found: dict[str, Artifact] = {}

        def add(run: Run) -> None:
            found[f"training split {run.recipe.data.split}"] = self.split(run.recipe.data.split)
            if isinstance(run.recipe, FeatureRecipe):
                return
            if run.recipe.stop is not None:
                found[f"validation split {run.recipe.stop.split}"] = self.split(run.recipe.stop.split)
            kind, _, name = (run.recipe.start or "").partition(":")
            if kind == "pretrain":
                split = choose(self.papers[run.paper].pretrain, name, f"pretrain section of {run.paper}").split
                found[f"pre-training split {split}"] = self.split(split)
            elif kind == "run":
                add(self.run(run.paper, name))

        for run in self.runs_in(paper, spec):
            add(run)
        return list(found.items())

    @remembered
    def figure(self, paper: str, name: str) -> Artifact:
        """One figure of a paper."""
        spec = choose(self.papers[paper].figures, name, f"figure of {paper}")
        settings = complete_spec(self._presented(paper, name, spec))
        runs = self.runs_in(paper, spec)
        if spec["kind"] in METRIC_KINDS:
            metrics = [("", self.evaluate(run)) for run in runs]
            return self._make("figure", f"{paper}/{name}", settings, metrics=metrics)
        encoders = named_under(spec, "encoder")
        splits = list(dict.fromkeys([spec["split"], *(row["split"] for row in spec.get("rows", ()) if "split" in row)]))
        image_runs = [run for run in runs if isinstance(run.recipe, Recipe)]
        needs: dict[str, Any] = {
            "checkpoints": [(run.name, self.checkpoint(run, run.seeds[0])) for run in image_runs] or None,
            "encoders": [(e, self.pretrain(paper, e)) for e in encoders] or None,
            "splits": [(name, self.split(name)) for name in splits],
        }
        if spec.get("crop"):
            side = spec["crop"]
            needs["crops"] = [(n, self.crops(n, "center", side, Perturbation(), Bias())) for n in splits]
        held = []
        for row in settings.get("rows", ()):
            run = self.run(paper, row["run"]) if "run" in row else None
            if run is not None and isinstance(run.recipe, FeatureRecipe):
                split = row.get("split", spec["split"])
                whole = self.crops(split, "whole", 0, Perturbation(), run.recipe.bias)
                held.append((f"{run.name}@{split}", self.embed(run.paper, run.recipe.annotate, whole)))
        needs["features"] = list(dict(held).items()) or None
        return self._make("figure", f"{paper}/{name}", settings, **needs)

    def tables(self) -> list[Artifact]:
        """Every table of every paper."""
        return [self.table(p, name) for p, paper in self.papers.items() for name in paper.tables]

    def figures(self) -> list[Artifact]:
        """Every figure of every paper."""
        return [self.figure(p, name) for p, paper in self.papers.items() for name in paper.figures]

    def targets(self) -> dict[str, list[Artifact]]:
        """What can be asked for by name: a paper, or one of its tables and figures (``mpft-table1``)."""
        found: dict[str, list[Artifact]] = {}
        for name, paper in self.papers.items():
            own = {f"{name}-{table}": [self.table(name, table)] for table in paper.tables}
            own |= {f"{name}-{figure}": [self.figure(name, figure)] for figure in paper.figures}
            found |= {name: [artifact for held in own.values() for artifact in held]} | own
        return found

    @remembered
    def report(self) -> Artifact:
        """The page that holds all tables and figures."""
        settings = {
            "name": self.config.name,
            "banner": self.config.banner,
            "papers": {key: paper.title for key, paper in self.papers.items()},
        }
        tables = [("", a) for a in self.tables()]
        figures = [("", a) for a in self.figures()]
        return self._make("report", self.config.name, settings, tables=tables, figures=figures)

    def everything(self) -> dict[str, Artifact]:
        """All artifacts that tables, figures and report need, by path."""
        for run in self.runs.values():
            self.score(run)  # a run that no table names yet must be right all the same
        found: dict[str, Artifact] = {}
        todo = [self.report()]
        while todo:
            artifact = todo.pop()
            if artifact.path not in found:
                found[artifact.path] = artifact
                todo += [a for held in artifact.needs.values() for _, a in held]
        return found
