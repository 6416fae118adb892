"""Whether folders hold as many images as benchmarks should, and as runs ask for: before they are indexed, and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tellsign.commands.image_counts import Counts, ImageCounter
from tellsign.plan.artifact import Artifact
from tellsign.plan.plan import Plan
from tellsign.schema.data import Benchmark, Count, Split

LABELS = ("real", "fake")


def shortfalls(plan: Plan, counter: ImageCounter, split: Artifact) -> list[str]:
    """Lines on what a split's folders hold less of than they should, or than the split takes; none once it is made.

    Usable images are counted where an index is there, files before. What is not there at all is told elsewhere.
    """
    spec, there = counter.spec(split), counter.there(split)
    benchmark = plan.config.benchmarks[spec.benchmark]
    if there is None or Path(split.path).exists():
        return []
    stated = {name: parts[spec.part] for name, parts in benchmark.counts.items() if spec.part in parts}
    asked = spec.subsets or benchmark.subsets
    due = stated if benchmark.on_short == "fail" else {}
    if not (asked or there or due):
        return [f"{spec.benchmark}: {spec.part}: no images in {', '.join(benchmark.roots.values())}"]
    lines = []
    for subset in asked or dict.fromkeys([*there, *due]):
        count = due.get(subset, Count())
        lines += _of_subset(spec, split.name, subset, there, Count() if count.inferred else count, benchmark)
    return lines


def _of_subset(spec: Split, split: str, subset: str, there: Counts, due: Count, benchmark: Benchmark) -> Iterator[str]:
    """Lines on one subset; ``due`` is what it must hold, and has no numbers where nothing is stated."""
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
