"""What an audit found, in words, a table and a CSV file."""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tellsign.commands.text_table import aligned, percent
from tellsign.data.cues import CUES, TOGETHER, Cues
from tellsign.data.separation import LEAST, SAME, Separation

SEPARATES = 0.95
"""Balanced accuracy from which a cue is said to separate the labels alone."""


@dataclass(frozen=True)
class Audited:
    """One subset.

    Attributes:
        subset: Its name.
        reals, fakes: Cues of the files that were read.
        found: By cue; None where a label has too few files.
    """

    subset: str
    reals: Sequence[Cues]
    fakes: Sequence[Cues]
    found: Mapping[str, Separation | None]


def as_table(subsets: Sequence[Audited]) -> str:
    """A row a subset: balanced accuracy by cue, in per cent, with its interval."""
    rows = []
    for one in subsets:
        cells = [_cell(one.found[cue]) for cue in CUES]
        rows.append([one.subset, str(len(one.reals)), str(len(one.fakes)), *cells])
    return aligned(("balanced accuracy (%)", "real", "fake", *CUES), rows)


def _cell(found: Separation | None) -> str:
    if found is None:
        return "–"
    if found == SAME:
        return "all alike"
    return f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)})"


def as_csv(subsets: Sequence[Audited]) -> str:
    """A row a subset and cue."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["subset", "real", "fake", "cue", "balanced_accuracy", "low", "high"])
    for one in subsets:
        for cue, found in one.found.items():
            numbers = [f"{value:.4f}" for value in (found.value, found.low, found.high)] if found else [""] * 3
            writer.writerow([one.subset, len(one.reals), len(one.fakes), cue, *numbers])
    return out.getvalue()


# ------------------------------------------------------------------------------------------------ words


def words(one: Audited) -> str:
    """What the files of a subset give away."""
    if not (one.reals and one.fakes):
        only = "real" if one.reals else "fake"
        return f"{one.subset}: all files that could be read are {only}, so nothing can tell labels apart."
    together = one.found[TOGETHER]
    if together is None:
        return (
            f"{one.subset}: {len(one.reals)} real and {len(one.fakes)} fake files; at least {LEAST} of each are needed."
        )
    single = {cue: found for cue, found in one.found.items() if found and found.found and cue != TOGETHER}
    ordered = sorted(single, key=lambda cue: -single[cue].value)
    alone = [cue for cue in ordered if single[cue].value >= SEPARATES]
    if alone:
        said = f"{alone[0]} alone separates the labels"
        if len(alone) > 1:
            said = f"{', '.join(alone[:-1])} and {alone[-1]} each separate the labels alone"
        return f"{one.subset}: {said}. {' '.join(_said_of(one, cue) for cue in alone)}"
    if together.found or ordered:
        most = f"{percent(together.value)} % ({percent(together.low)} to {percent(together.high)})"
        said = f"{one.subset}: without a pixel the labels can be told in {most}"
        if not ordered:
            return f"{said}, by no cue alone."
        best = single[ordered[0]]
        return f"{said}; by {ordered[0]} alone in {percent(best.value)} %. {_said_of(one, ordered[0])}"
    return f"{one.subset}: nothing was found that tells the labels apart without a pixel."


def _said_of(one: Audited, cue: str) -> str:
    return DESCRIPTIONS[cue](one.reals, one.fakes)


def _formats(reals: Sequence[Cues], fakes: Sequence[Cues]) -> str:
    return f"Reals are {_commonest([c.format for c in reals])}, fakes {_commonest([c.format for c in fakes])}."


def _sizes(reals: Sequence[Cues], fakes: Sequence[Cues]) -> str:
    texts = [_commonest([f"{c.width}×{c.height}" for c in files]) for files in (reals, fakes)]
    return f"The commonest size of reals is {texts[0]}, of fakes {texts[1]}."


def _commonest(values: Sequence[str]) -> str:
    (value, count), *_ = Counter(values).most_common(1)
    return value if count == len(values) else f"{value} ({count} of {len(values)})"


def _qualities(reals: Sequence[Cues], fakes: Sequence[Cues]) -> str:
    texts = []
    for files in (reals, fakes):
        known = [c.quality for c in files if c.quality > 0]
        texts.append(f"{statistics.median(known):g}" if known else "none, for they are no JPEGs")
    return f"The median JPEG quality of reals is {texts[0]}, of fakes {texts[1]}."


def _bytes(reals: Sequence[Cues], fakes: Sequence[Cues]) -> str:
    real, fake = (statistics.median(c.bytes for c in files) for files in (reals, fakes))
    return f"Fakes are the {'smaller' if fake < real else 'larger'} files ({_kilo(fake)} against {_kilo(real)} kB)."


def _kilo(count: float) -> str:
    return f"{count / 1000:,.0f}" if count >= 10_000 else f"{count / 1000:.1f}"


def _bits(reals: Sequence[Cues], fakes: Sequence[Cues]) -> str:
    real, fake = (statistics.median(8 * c.bytes / (c.width * c.height) for c in files) for files in (reals, fakes))
    return f"Fakes take {'fewer' if fake < real else 'more'} bits a pixel ({fake:.2f} against {real:.2f})."


def _metadata(reals: Sequence[Cues], fakes: Sequence[Cues]) -> str:
    kinds = sorted(frozenset[str]().union(*(c.metadata for c in [*reals, *fakes])))

    def shares(kind: str) -> tuple[float, float]:
        of_reals, of_fakes = (sum(kind in c.metadata for c in files) / len(files) for files in (reals, fakes))
        return of_reals, of_fakes

    kind = max(kinds, key=lambda name: abs(shares(name)[0] - shares(name)[1]))
    real, fake = shares(kind)
    return f"{100 * real:.0f} % of reals and {100 * fake:.0f} % of fakes have {kind}."


DESCRIPTIONS: dict[str, Callable[[Sequence[Cues], Sequence[Cues]], str]] = {
    "format": _formats,
    "size": _sizes,
    "JPEG quality": _qualities,
    "file size": _bytes,
    "bits per pixel": _bits,
    "metadata": _metadata,
}
"""What is said of reals and fakes by the cue that tells them apart."""
