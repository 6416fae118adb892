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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tellsign.captioners import CAPTIONERS
from tellsign.errors import UserError, choose
from tellsign.figures import METRIC_KINDS, complete_spec
from tellsign.fingerprint import code_digest
from tellsign.grounders import GROUNDERS
from tellsign.recipe import (
    Annotate,
    Bias,
    Config,
    Data,
    Evaluate,
    FeatureRecipe,
    Glip,
    Network,
    NoCaptioner,
    NoGrounder,
    Paper,
    Perturbation,
    Pretrain,
    Recipe,
    Test,
    build,
    differences,
    expand_grid,
    merge,
    plain,
    read_yaml,
)
from tellsign.tables import read_spec
from tellsign.weights import NLTK, Held, MissingWeightsError

# Where each stage keeps its artifacts, and what ends their names. Crops are large and quick to remake: they live
# in cache/, which is not versioned.
STAGES = {
    "demo_photos": "data/demo_photos/{name}.{fp}",
    "demo_generator": "data/demo_generator/{name}.{fp}",
    "index": "data/index/{name}.{fp}.parquet",
    "split": "data/split/{name}.{fp}.parquet",
    "crops": "cache/crops/{name}.{fp}",
    "caption": "data/caption/{name}.{fp}.parquet",
    "ground": "data/ground/{name}.{fp}.parquet",
    "embed": "data/embed/{name}.{fp}",
    "pretrain": "data/pretrain/{name}.{fp}",
    "train": "data/train/{name}.{fp}",
    "train_head": "data/train_head/{name}.{fp}",
    "score": "data/score/{name}.{fp}.parquet",
    "score_head": "data/score_head/{name}.{fp}.parquet",
    "evaluate": "data/evaluate/{name}.{fp}.parquet",
    "table": "data/table/{name}.{fp}",
    "figure": "data/figure/{name}.{fp}",
    "report": "data/report/{name}.{fp}.html",
}


# What --config gives, and how a message asks for it.
WANTED = {"root": "PATH", "train": "SUBSET", "photos": "PATH"}


@dataclass(frozen=True)
class Artifact:
    """One file or folder that a stage makes.

    Attributes:
        stage: The stage, its rule, module, folder and log share this name.
        name: What it is, for people: ``mpft/tam-s0``.
        settings: Everything outside its inputs that can change it.
        needs: Inputs by role; each is a list of (key, artifact), the key empty where order or kind says enough.
        raw: Content digests of folders outside the pipeline, by key.
        roots: Those folders, by key (they do not enter the fingerprint).
        pin: A fingerprint that the configuration holds for it.
        store: Folder of rows that were made before and that other artifacts share; it saves time and changes
            nothing.
    """

    stage: str
    name: str
    settings: dict[str, Any]
    needs: dict[str, list[tuple[str, Artifact]]] = field(default_factory=dict)
    raw: dict[str, str] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    pin: str | None = None
    store: str = ""

    @functools.cached_property
    def recipe(self) -> dict[str, Any]:
        """What the fingerprint is taken of."""
        needs = {role: [(key, a.fingerprint) for key, a in held] for role, held in self.needs.items()}
        code = code_digest(f"tellsign.stages.{self.stage}")
        return {"code": code, "settings": without_places(self.settings), "needs": needs, "raw": self.raw}

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits."""
        return self.pin or digest(self.recipe)[:12]

    @functools.cached_property
    def path(self) -> str:
        """Where it lives, relative to the working folder."""
        return STAGES[self.stage].format(name=self.name, fp=self.fingerprint)


def digest(value: Any) -> str:
    """Hex sha256 of plain data; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()


def without_places(value: Any) -> Any:
    """Plain data without the places of weights whose digest stands beside: the same file may lie anywhere."""
    if isinstance(value, Mapping):
        known = value.get("digest") not in (None, "none")
        return {k: without_places(v) for k, v in value.items() if not (known and k == "weights")}
    return [without_places(v) for v in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Run:
    """A recipe of a paper with the seeds and test sets it is wanted for."""

    paper: str
    name: str
    recipe: Recipe | FeatureRecipe
    seeds: tuple[int, ...]
    tests: tuple[str, ...]


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


class Plan:
    """All artifacts of a configuration.

    Args:
        config: The configuration as plain data.
        raw_digests: Gives the content digest of each folder outside the pipeline, by key; folders named in the second
            argument are left out.
        file_digest: Gives the sha256 of a file.
        find_weights: Gives the place and digest of what a ``weights:`` names (`tellsign.weights.Shelf.find`).
        folder: Where relative paths of the configuration start.

    Attributes:
        papers: The papers by name.
        runs: Every run by ``paper/name``.
        missing: What ``weights:`` names and is not there. The plan goes on without, so that a dry run shows the whole;
            nothing may be run then.

    Raises:
        UserError: anything in the configuration that cannot be right; nothing has been run by then.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        raw_digests: Callable[[dict[str, Path], tuple[str, ...]], dict[str, str]],
        file_digest: Callable[[Path], str],
        find_weights: Callable[[str], Held],
        folder: Path,
    ) -> None:
        given = {k: str(config[k]) for k in WANTED if config.get(k) is not None}
        if "root" in given:
            given.setdefault("photos", f"{given['root']}/photos")
        self.config = build(Config, fill(dict(config), given), "config")
        missing = sorted(unfilled([self.config.benchmarks, self.config.splits]) - {"photos"})
        if missing:
            wanted = " ".join(f"{name}={WANTED.get(name, 'VALUE')}" for name in missing)
            raise UserError(f"configuration {self.config.name!r} needs more: add --config {wanted} to the command.")
        self._raw_digests, self._file_digest, self._folder = raw_digests, file_digest, folder
        self._find_weights = functools.cache(find_weights)  # hundreds of runs name the same
        self.missing: set[str] = set()
        self.papers: dict[str, Paper] = {}
        self.runs: dict[str, Run] = {}
        for name in self.config.papers:
            self._read_paper(folder / name, given)
        self._made: dict[tuple[str, str], Artifact] = {}
        self._by_recipe: dict[tuple[str, str], Artifact] = {}

    # -------------------------------------------------------------------------------------------- papers

    def _read_paper(self, path: Path, given: Mapping[str, str]) -> None:
        paper = build(Paper, fill(read_yaml(path), given), path.name)
        self.papers[paper.paper] = paper
        specs = {name: dict(change or {}) for name, change in paper.runs.items()}
        for name, grid in paper.grids.items():
            specs |= expand_grid(name, grid)
        for name, spec in specs.items():
            where = f"{path.name}: run {name}"
            seeds = tuple(spec.pop("seeds", paper.seeds))
            tests = tuple(spec.pop("tests", ["test"] if "test" in paper.tests else list(paper.tests)))
            for test in tests:
                choose(paper.tests, test, f"test set of {where}")
            method = spec.get("method", paper.base.get("method", "image"))
            kind = choose({"image": Recipe, "features": FeatureRecipe}, str(method), f"method of {where}")
            recipe = build(kind, merge(paper.base, spec), where)
            self.runs[f"{paper.paper}/{name}"] = Run(paper.paper, name, recipe, seeds, tests)

    def run(self, paper: str, name: str) -> Run:
        """Find a run by ``name`` (of ``paper``) or ``other-paper/name``."""
        full = name if "/" in name else f"{paper}/{name}"
        return choose(self.runs, full, "run")

    # -------------------------------------------------------------------------------------------- making

    def _make(self, stage: str, name: str, settings: Any, **needs: Any) -> Artifact:
        raw, roots, store = needs.pop("raw", {}), needs.pop("roots", {}), needs.pop("store", "")
        if (stage, name) in self._made:
            return self._made[stage, name]
        held = {role: v if isinstance(v, list) else [("", v)] for role, v in needs.items() if v is not None}
        pin = self.config.pins.get(f"{stage}/{name}")
        made = Artifact(stage, name, plain(settings), held, raw, roots, pin, store)
        # equal recipes under two names (a main run and a grid's cell) are one artifact, made once
        made = self._by_recipe.setdefault((stage, made.fingerprint), made)
        self._made[stage, name] = made
        return made

    def network(self, network: Network, where: str) -> dict[str, str]:
        """Settings of a network: its name, and the place and digest of its weights."""
        try:
            held = self._find_weights(network.weights)
        except MissingWeightsError:
            self.missing.add(network.weights)
            return {"name": network.name, "weights": network.weights, "digest": "missing"}
        except UserError as problem:
            raise UserError(f"{where}: {problem}") from None
        return {"name": network.name, "weights": held.path, "digest": held.digest}

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
            for name, spec in paper.annotate.items():
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
                note(spec.backbone.weights, f"{paper.paper}: pretrain {name}")
        return found

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
        del settings["roots"]
        if spec.layout == "demo":
            demo = self.config.demo
            held = [(part, self.demo_photos(part)) for part in ("train", "test")]
            held += [(name, self.demo_generator(name)) for name in (demo.generators if demo else ())]
            return self._make("index", benchmark, settings, made=held)
        if not spec.roots:
            held = [("pretrain", self.demo_photos("pretrain"))]
            return self._make("index", benchmark, settings, made=held)
        folders = self._raw_folders(benchmark)
        raw = self._raw_digests(folders, spec.exclude)
        return self._make("index", benchmark, settings, raw=raw, roots={k: str(v) for k, v in folders.items()})

    def _raw_folders(self, benchmark: str) -> dict[str, Path]:
        folders = {}
        for key, text in self.config.benchmarks[benchmark].roots.items():
            path = (self._folder / text).expanduser()
            if not path.is_dir():
                raise UserError(
                    f"benchmark {benchmark!r}: there is no folder {path} (root {key!r}). Give the right one in "
                    "the configuration, or by --config root=PATH where the configuration says {root}."
                )
            folders[key] = path
        return folders

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

    def crops(self, split: str, store: str, size: int, perturbation: Perturbation, bias: Bias) -> Artifact:
        """Decoded pixels of a split: ``whole`` images or ``center`` crops."""
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
        index = self.index(spec.benchmark)
        held = index.needs.get("made", [])
        needs = {"split": self.split(split), "made": held or None}
        return self._make("crops", "-".join(marks), settings, **needs, roots=index.roots)

    # -------------------------------------------------------------------------------------------- TIDY's caches

    def embed(self, paper: str, annotate: str, crops: Artifact) -> Artifact:
        """CLIP embeddings of images, captions and objects."""
        spec = choose(self.papers[paper].annotate, annotate, f"annotate section of {paper}")
        where = f"{paper}: annotate {annotate}"
        name = f"{crops.name}-{digest(spec)[:4]}"
        caption, ground = self._annotations(spec, crops, name, where)
        clip = self.network(spec.clip, where)
        made = self._made_from({"clip": clip}, crops, "tellsign.backbones", "tellsign.views")
        store = self._store("embed", spec.clip.name, made)
        needs = {"crops": crops, "caption": caption, "ground": ground, "store": store}
        return self._make("embed", name, {"clip": clip, "made": made}, **needs)

    def _annotations(
        self, spec: Annotate, crops: Artifact, name: str, where: str
    ) -> tuple[Artifact | None, Artifact | None]:
        if isinstance(spec.captioner, NoCaptioner):
            return None, None
        captioner = plain(spec.captioner) | self.network(Network(spec.captioner.name, spec.captioner.weights), where)
        made = self._made_from({"captioner": captioner}, crops, CAPTIONERS[spec.captioner.name])
        settings: dict[str, Any] = {"captioner": captioner, "made": made}
        store = self._store("caption", spec.captioner.name, made)
        caption = self._make("caption", name, settings, crops=crops, store=store)
        if isinstance(spec.grounder, NoGrounder):
            return caption, None
        grounder = plain(spec.grounder) | self.network(Network(spec.grounder.name, spec.grounder.weights), where)
        if isinstance(spec.grounder, Glip):
            own = spec.grounder.name == "glip"
            grounder["tokenizer"] = None if own else self.network(Network("tokenizer", spec.grounder.tokenizer), where)
            if spec.grounder.grammar == "nltk":
                grounder["grammar_data"] = self.network(Network("nltk", NLTK), where)
        made = self._made_from({"grounder": grounder}, crops, GROUNDERS[spec.grounder.name])
        settings = {"grounder": grounder, "threshold": spec.threshold, "made": made}
        store = self._store("ground", spec.grounder.name, made)
        return caption, self._make("ground", name, settings, crops=crops, caption=caption, store=store)

    def _made_from(self, network: dict[str, Any], crops: Artifact, *modules: str) -> dict[str, Any]:
        """What rows of a store depend on but the image: the network, the code, and how pixels came about."""
        pixels = digest({"code": crops.recipe["code"], "settings": crops.settings})[:12]
        return without_places(network) | {"code": [code_digest(module) for module in modules], "pixels": pixels}

    def _store(self, stage: str, name: str, made: dict[str, Any]) -> str:
        """The folder of a store."""
        return f"data/store/{stage}-{name}.{digest(made)[:12]}"

    # -------------------------------------------------------------------------------------------- training

    def pretrain(self, paper: str, name: str) -> Artifact:
        """An encoder of `rescale`'s pre-training."""
        spec: Pretrain = choose(self.papers[paper].pretrain, name, f"pretrain section of {paper}")
        settings = plain(spec) | {"backbone": self.network(spec.backbone, f"{paper}: pretrain {name}")}
        del settings["split"]
        crops = self.crops(spec.split, "whole", 0, Perturbation(), Bias())
        return self._make("pretrain", f"{paper}/{name}", settings, crops=crops)

    def checkpoint(self, run: Run, seed: int) -> Artifact:
        """The checkpoint of a run at a seed."""
        name = f"{run.paper}/{run.name}-s{seed}"
        data: Data = run.recipe.data
        where = f"{run.paper}: run {run.name}"
        split = self.split(data.split)
        known = self.config.splits[data.split].subsets
        for subset in data.subsets if known else ():
            choose(dict.fromkeys(known), subset, f"subset of split {data.split!r} in {where}")
        settings = plain(run.recipe) | {"seed": seed}
        settings["data"] = {"subsets": list(data.subsets), "count": data.count}
        del settings["bias"], settings["method"]
        crops = self.crops(data.split, "whole", 0, data.perturbation, run.recipe.bias)
        if isinstance(run.recipe, FeatureRecipe):
            settings.pop("annotate")
            features = self.embed(run.paper, run.recipe.annotate, crops)
            return self._make("train_head", name, settings, split=split, features=features)
        settings["backbone"] = self.network(run.recipe.backbone, where)
        start = self._start(run, seed)
        settings["start"] = run.recipe.start.partition(":")[0] if run.recipe.start else None
        if start is not None:
            settings["backbone"] |= {"weights": "none", "digest": "none"}
        return self._make("train", name, settings, split=split, crops=crops, start=start)

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

    def score(self, run: Run) -> Artifact:
        """Scores of all seeds of a run on all of its test sets."""
        checkpoints = [(str(seed), self.checkpoint(run, seed)) for seed in run.seeds]
        name = f"{run.paper}/{run.name}"
        settings: dict[str, Any] = {"paper": run.paper, "run": run.name, "tests": {}}
        splits, pixels = [], []
        for test_name in run.tests:
            test: Test = self.papers[run.paper].tests[test_name]
            benchmark = self.config.splits[test.split].benchmark if test.split in self.config.splits else ""
            mark = "none" if test.perturbation.name == "none" else test_name
            settings["tests"][test_name] = {"benchmark": benchmark, "perturbation": mark}
            splits.append((test_name, self.split(test.split)))
            if isinstance(run.recipe, FeatureRecipe):
                crops = self.crops(test.split, "whole", 0, test.perturbation, run.recipe.bias)
                pixels.append((test_name, self.embed(run.paper, run.recipe.annotate, crops)))
            else:
                crops = self.crops(test.split, "center", run.recipe.crop, test.perturbation, run.recipe.bias)
                pixels.append((test_name, crops))
        if isinstance(run.recipe, FeatureRecipe):
            return self._make("score_head", name, settings, checkpoints=checkpoints, splits=splits, features=pixels)
        return self._make("score", name, settings, checkpoints=checkpoints, splits=splits, crops=pixels)

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
                        choose(self.papers[paper].grids, value, f"grid of {paper}")
                        for full, held in self.runs.items():
                            if full.startswith(f"{paper}/{value}-"):
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
        return self._make("table", f"{paper}/{name}", settings, **needs, raw=raw, roots=roots)

    def _tested_indexes(self, paper: str, spec: Mapping[str, Any]) -> list[tuple[str, Artifact]]:
        """Indexes of the benchmarks that a table's runs are tested on, for what their files give away."""
        tests = [self.papers[run.paper].tests[name] for run in self.runs_in(paper, spec) for name in run.tests]
        benchmarks = dict.fromkeys(self.config.splits[test.split].benchmark for test in tests)
        return [(name, self.index(name)) for name in benchmarks]

    def figure(self, paper: str, name: str) -> Artifact:
        """One figure of a paper."""
        spec = choose(self.papers[paper].figures, name, f"figure of {paper}")
        settings = complete_spec(self._presented(paper, name, spec))
        runs = self.runs_in(paper, spec)
        if spec["kind"] in METRIC_KINDS:
            metrics = [("", self.evaluate(run)) for run in runs]
            return self._make("figure", f"{paper}/{name}", settings, metrics=metrics)
        encoders = named_under(spec, "encoder")
        image_runs = [run for run in runs if isinstance(run.recipe, Recipe)]
        feature_runs = [run for run in runs if isinstance(run.recipe, FeatureRecipe)]
        needs: dict[str, Any] = {
            "checkpoints": [(run.name, self.checkpoint(run, run.seeds[0])) for run in image_runs] or None,
            "encoders": [(e, self.pretrain(paper, e)) for e in encoders] or None,
            "split": self.split(spec["split"]),
        }
        if spec.get("crop"):
            needs["crops"] = self.crops(spec["split"], "center", spec["crop"], Perturbation(), Bias())
        held = []
        for run in feature_runs:
            assert isinstance(run.recipe, FeatureRecipe)
            whole = self.crops(spec["split"], "whole", 0, Perturbation(), run.recipe.bias)
            held.append((run.name, self.embed(paper, run.recipe.annotate, whole)))
        needs["features"] = held or None
        return self._make("figure", f"{paper}/{name}", settings, **needs)

    def tables(self) -> list[Artifact]:
        """Every table of every paper."""
        return [self.table(p, name) for p, paper in self.papers.items() for name in paper.tables]

    def figures(self) -> list[Artifact]:
        """Every figure of every paper."""
        return [self.figure(p, name) for p, paper in self.papers.items() for name in paper.figures]

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
