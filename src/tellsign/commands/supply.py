"""Whether folders hold as many images as benchmarks should, and as runs ask for: before they are indexed, and after."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tellsign.commands.image_counts import Counts, ImageCounter
from tellsign.commands.rates import RATES, read_rates
from tellsign.data.benchmarks import PARTS
from tellsign.plan.artifact import Artifact, ancestors
from tellsign.plan.plan import Plan
from tellsign.schema.data import Benchmark, Count, Split

LABELS = ("real", "fake")


def shortfalls(plan: Plan, counter: ImageCounter, split: Artifact) -> list[str]:
    """Lines on what a split's folders hold less of than they should, or than the split takes; none once it is made.

    Usable images are counted where an index is there, files before. What is not there at all is told elsewhere.
    """
    if Path(split.path).exists() or (there := counter.there(split)) is None:
        return []
    spec = counter.spec(split)
    benchmark = plan.config.benchmarks[spec.benchmark]
    stated = [name for name, parts in benchmark.counts.items() if spec.part in parts]
    held = dict.fromkeys([*there, *(stated if benchmark.on_short == "fail" else ())])
    asked = spec.subsets or _indexed(split.needs["index"]) or benchmark.subsets or held
    if not asked:
        return [f"{spec.benchmark}: {spec.part}: no images in {', '.join(benchmark.roots.values())}"]
    lines = []
    for subset in asked:
        lines += _of_subset(spec, split.name, subset, there, benchmark)
    for _, index in split.needs.get("later", ()):
        lines += _of_index(index, counter, benchmark)
    return lines


def _indexed(indexes: Sequence[tuple[str, Artifact]]) -> list[str]:
    """The subsets that have indexes of their own among these."""
    return [subset for _, index in indexes if index.settings.get("part") for subset in index.settings["subsets"]]


def _of_index(index: Artifact, counter: ImageCounter, benchmark: Benchmark) -> Iterator[str]:
    """Lines on a subset's part that is looked at later than a split: its index must be there, whatever is drawn."""
    name, part, (subset,) = (index.settings[key] for key in ("benchmark", "part", "subsets"))
    if not Path(index.path).exists() and (there := counter.held(name, part, [index])) is not None:
        spec = Split(benchmark=name, part=part, skip=0, count="all")
        yield from _of_subset(spec, "", subset, there, benchmark)


def _of_subset(spec: Split, split: str, subset: str, there: Counts, benchmark: Benchmark) -> Iterator[str]:
    """Lines on one subset: what the benchmark states it to hold, and what the split takes."""
    due = benchmark.counts.get(subset, {}).get(spec.part, Count())
    if due.inferred or benchmark.on_short != "fail":
        due = Count()
    held, place = there.get(subset, (0, 0)), f"{spec.benchmark}: {subset}, {spec.part}"
    if not any(held):
        known = " or ".join(benchmark.folders.get(subset, ())) or subset
        yield f"{place}: no images in a folder {known}"
        return
    taken = 1 if spec.count == "all" else spec.count // (1 if spec.part == "pretrain" else 2)
    for label, number, stated in zip(LABELS, held, (due.real, due.fake), strict=True):
        if stated is not None and (number or 0) < stated * (1 - benchmark.tolerance):
            yield f"{place}, {label}: {number or 0:,} of {stated:,}"
        elif (number or 0) < taken and not (spec.part == "pretrain" and label == "fake"):
            yield f"{place}, {label}: {number or 0:,}, of which split {split} takes {taken:,}"


def all_shortfalls(plan: Plan, folder: Path, artifacts: Iterable[Artifact]) -> list[str]:
    """Lines on what all splits among some artifacts and their ancestors hold too little of; nothing is opened.

    Args:
        plan: The plan.
        folder: The top folder of the working tree.
        artifacts: What is to be made.
    """
    counter = ImageCounter(plan.config, read_rates(folder / RATES), Path(), plan.images)
    splits = [one for one in ancestors(artifacts).values() if one.stage == "split"]
    lines = [shortfalls(plan, counter, split) for split in sorted(splits, key=lambda split: split.name)]
    return list(dict.fromkeys(itertools.chain.from_iterable(lines)))


def needed_folders(plan: Plan, artifacts: Iterable[Artifact]) -> list[str]:
    """A line on each benchmark of which some artifacts need only some parts or subsets: which, and which not."""
    needed: dict[str, dict[str, set[str]]] = {}
    for index in ancestors(artifacts).values():
        if index.stage == "index" and index.settings.get("part"):
            name, part, subsets = (index.settings[key] for key in ("benchmark", "part", "subsets"))
            needed.setdefault(name, {}).setdefault(part, set()).update(subsets)
    lines = []
    for name, parts in sorted(needed.items()):
        every = {part: set(plan.subsets_in(name, part)) for part in plan.parts_of(name)}
        spare = {part: subsets - parts.get(part, set()) for part, subsets in every.items()}
        if any(spare.values()):
            needs, leaves = _listed(parts, every), _listed(spare, every)
            lines.append(f"{name}: only these are needed: {needs}. Not needed: {leaves}.")
    return lines


def _listed(parts: Mapping[str, set[str]], every: Mapping[str, set[str]]) -> str:
    """Subsets by part, as people say it."""
    known = {part: parts[part] for part in PARTS if parts.get(part)}
    texts = {part: "all" if names == every[part] else ", ".join(sorted(names)) for part, names in known.items()}
    return "; ".join(f"{part}: {text}" for part, text in texts.items())


def short_report(lines: Sequence[str], benchmarks: Mapping[str, Benchmark]) -> str:
    """What data hold too little, and where to get them, once a benchmark."""
    parts = ["These hold less than they should, or than runs ask for:", *(f"  {line}" for line in lines)]
    for name in dict.fromkeys(line.partition(":")[0] for line in lines):
        spec = benchmarks[name]
        if spec.page:
            parts.append(f"  Get {name} from {spec.page} (licence: {spec.licence or 'not stated'}). {spec.get}")
    if any("of which split" in line for line in lines):
        parts.append("  Or lower the splits' `count` in the configuration, and that of the runs which draw from them.")
    return "\n".join(parts)
