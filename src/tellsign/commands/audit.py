"""Say what image files give away of their labels without a pixel: format, size, JPEG quality, file size, metadata.

    tellsign audit FOLDER                             <subset>/{0_real,1_fake}, as for config/folder.yaml's root
    tellsign audit genimage --configfile config/paper.yaml --config data=FOLDER
    tellsign audit FOLDER --out audited               audit.md, audit.csv, audit.png and audit.svg in that folder

For every subset a decision tree is shown one such cue of each file, and then all of them, and has to tell real from
fake: balanced accuracy in five-fold cross-validation, where 50 % is chance, with a 95 % interval. Then it says in words
what the strongest cues are. Only headers are read, of at most --limit files of a subset and label, evenly spread.

A detector that is trained or tested on such a subset may have learnt nothing else. `bias_control` in a recipe, which
config/folder.yaml runs beside the plain one, takes size and compression away. docs/audit.md says more.

The exit status is 0 when all files could be read, 1 when some could not, 2 when the question itself is wrong.
"""

from __future__ import annotations

import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellsign.commands.audit_text import Audited, as_csv, as_table, words
from tellsign.commands.configuration import plan_of
from tellsign.data.benchmarks import Placed, list_images
from tellsign.data.cues import CUES, Cues, columns_of, cues_of
from tellsign.data.images import in_order
from tellsign.data.separation import separation
from tellsign.errors import UserError
from tellsign.plan.plan import Plan
from tellsign.system.devices import threads
from tellsign.system.files import file_beside, write_text

LIMIT = 1000

LISTED = 10
"""Files that could not be read are named up to here."""

FOLDER: dict[str, Any] = {"layout": "folder", "subsets": [], "part": ""}


def main(
    what: str,
    *,
    configfile: Path = Path("config/config.yaml"),
    config: list[str] | None = None,
    exclude: list[str] | None = None,
    limit: int = LIMIT,
    seed: int = 0,
    out: Path | None = None,
) -> int:
    """Look and tell; see the module.

    Args:
        what: A folder of subsets, or the name of a benchmark of the configuration.
        configfile: The configuration of a benchmark.
        config: KEY=VALUE, as for snakemake.
        exclude: Names of folders directly under FOLDER that hold something else; without it photos.
        limit: Files that are read of each subset and label.
        seed: Of the folds.
        out: Folder for the table, the words and the figure.

    Raises:
        UserError: there is no such folder or benchmark, or it holds no images.
    """
    if limit < 1:
        raise UserError(f"--limit {limit}: at least 1.")
    if Path(what).is_dir():
        roots, settings = {"images": Path(what)}, FOLDER | {"exclude": exclude or ["photos"]}
    else:
        roots, settings = benchmark(plan_of(configfile, config or []), what, configfile)
    chosen, left = chosen_files(list_images(roots, settings).files, limit)
    read, unreadable = read_cues(chosen, roots)
    subsets = [audited(name, by_label, seed) for name, by_label in sorted(read.items())]
    text = as_markdown(what, subsets, left, unreadable)
    sys.stdout.write(text)
    if out:
        write_files(out, what, subsets, text)
    return 1 if unreadable else 0


def benchmark(plan: Plan, name: str, configfile: Path) -> tuple[dict[str, Path], dict[str, Any]]:
    """Where the images of a configuration's benchmark lie, and how they are laid out.

    Raises:
        UserError: there is none of that name, or its images are not there.
    """
    if name not in plan.config.benchmarks:
        known = ", ".join(sorted(plan.config.benchmarks))
        raise UserError(f"{name} is no folder here, and no benchmark of {configfile}. Its benchmarks: {known}.")
    index = plan.index(name)
    roots = {key: Path(path) for key, path in index.roots.items()}
    roots |= {key: Path(made.path) for key, made in index.needs.get("made", ())}
    if absent := [str(path) for path in roots.values() if not path.is_dir()]:
        raise UserError(
            f"benchmark {name}: there is no folder {', '.join(absent)}. `tellsign doctor --configfile {configfile}` "
            "says how to get it; snakemake makes what lies in data/."
        )
    return roots, dict(index.settings)


def chosen_files(files: Iterable[Placed], limit: int) -> tuple[list[Placed], int]:
    """At most so many files of each subset and label, evenly spread; and how many are left."""
    groups: dict[tuple[str, int], list[Placed]] = defaultdict(list)
    for file in files:
        groups[file.subset, file.label].append(file)
    chosen = []
    for group in groups.values():
        places = np.unique(np.linspace(0, len(group) - 1, min(limit, len(group))).round().astype(int))
        chosen += [group[place] for place in places]
    return chosen, sum(map(len, groups.values())) - len(chosen)


def read_cues(files: Sequence[Placed], roots: Mapping[str, Path]) -> tuple[dict[str, dict[int, list[Cues]]], list[str]]:
    """The cues of the files by subset and label; and which could not be read, with the reason."""

    def read(file: Placed) -> Cues | str:
        path = roots[file.root] / file.path
        try:
            return cues_of(path)
        except (ValueError, OSError) as problem:
            return f"{path}: {problem}"

    by_subset: dict[str, dict[int, list[Cues]]] = {}
    unreadable = []
    for file, cues in zip(files, in_order(read, files, threads()), strict=True):
        of_subset = by_subset.setdefault(file.subset, {0: [], 1: []})
        if isinstance(cues, str):
            unreadable.append(cues)
        else:
            of_subset[file.label].append(cues)
    return by_subset, list(dict.fromkeys(unreadable))


def audited(subset: str, by_label: Mapping[int, Sequence[Cues]], seed: int) -> Audited:
    """How well each cue tells the labels of a subset apart."""
    labels = np.repeat([0, 1], [len(by_label[0]), len(by_label[1])])
    columns = columns_of([*by_label[0], *by_label[1]]) if len(labels) else {}
    return Audited(
        subset, by_label[0], by_label[1],
        {cue: separation(labels, columns[cue], seed) if columns else None for cue in CUES},
    )  # fmt: skip


def as_markdown(what: str, subsets: Sequence[Audited], left: int, unreadable: Sequence[str]) -> str:
    """The table, the words, and what was not looked at."""
    lines = [words(one) for one in subsets]
    parts = [f"# What the files of {what} give away", as_table(subsets)]
    parts += [textwrap.fill(line, 110, break_long_words=False, break_on_hyphens=False) for line in lines]
    if left:
        parts.append(f"{left:,} further files were not read (--limit).")
    if unreadable:
        more = [f"- and {len(unreadable) - LISTED} more"] if len(unreadable) > LISTED else []
        listed = "\n".join([*(f"- {one}" for one in unreadable[:LISTED]), *more])
        parts.append(f"Could not be read, and left out: {len(unreadable)}\n\n{listed}")
    return "\n\n".join(parts) + "\n"


def write_files(out: Path, what: str, subsets: Sequence[Audited], text: str) -> None:
    """Write the text, the numbers and the figure into a folder."""
    from tellsign.results.figures.cue_map import draw
    from tellsign.results.figures.files import png_bytes, svg_bytes

    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder.")
    write_text(out / "audit.md", text)
    write_text(out / "audit.csv", as_csv(subsets))
    values = [[100 * found.value if found else np.nan for found in one.found.values()] for one in subsets]
    figure = draw(
        np.array(values, float),
        subsets=[one.subset for one in subsets],
        cues=CUES,
        title=f"What the files of {what} give away",
        note="A decision tree that sees one cue of each file, five-fold cross-validation. No pixel is looked at.",
    )
    for name, data in (("audit.png", png_bytes(figure)), ("audit.svg", svg_bytes(figure))):
        with file_beside(out / name) as part:
            part.write_bytes(data)
