"""List every table and figure of the printed papers: what stands here for it, and how much is run.

    tellsign coverage                                     of config/paper.yaml, as docs/coverage.md holds it
    tellsign coverage --configfile FILE --out FILE.md     of another configuration, into a file

The printed tables and figures stand under `artifacts` in the paper files. Neither images nor weights are looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tellsign.errors import UserError, choose
from tellsign.networks.weights import ResolvedWeights
from tellsign.plan.plan import WANTED, Artifact, Plan
from tellsign.schema.paper import PaperCoverage
from tellsign.schema.strict_yaml import read_yaml
from tellsign.system.files import write_text

TRAININGS = ("train", "train_head", "pretrain")


def main(*, configfile: Path = Path("config/paper.yaml"), out: Path | None = None) -> int:
    """Write the list as Markdown; see the module.

    Raises:
        UserError: the configuration cannot be right, or an artifact names a table that is not there.
    """
    stored = read_yaml(configfile)
    if not isinstance(stored, Mapping):
        raise UserError(f"{configfile}: expected a mapping, got {stored!r}.")
    text = as_markdown(plan_without_data(stored), configfile)
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)
    return 0


def plan_without_data(config: Mapping[str, Any], folder: Path = Path()) -> Plan:
    """A plan that looks at neither images nor weights."""
    return Plan(
        dict(WANTED) | {key: value for key, value in config.items() if value is not None},
        raw_digests=lambda _roots, _exclude, _watch: {},
        file_digest=lambda _path: "",
        find_weights=lambda value: ResolvedWeights(value, ""),
        folder=folder,
    )


def made_for(plan: Plan, paper: str, shown: PaperCoverage) -> list[Artifact]:
    """Our tables and figures that stand for a printed one."""
    tables = [plan.table(paper, name) for name in shown.tables]
    return tables + [plan.figure(paper, name) for name in shown.figures]


def trainings_of(artifacts: Iterable[Artifact]) -> set[str]:
    """Paths of all trainings that artifacts need, directly or not."""
    found: set[str] = set()
    seen: set[int] = set()
    todo = list(artifacts)
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            found |= {one.path} if one.stage in TRAININGS else set()
            todo += [a for held in one.needs.values() for _, a in held]
    return found


def quoted_only(plan: Plan, paper: str, shown: PaperCoverage) -> list[str]:
    """Labels of rows that show a printed number and no run."""
    runs = {"run", "runs", "grid"}
    tables = [spec for name in shown.tables if not runs & (spec := plan.papers[paper].tables[name]).keys()]
    rows = [row for spec in tables for row in spec["rows"]]
    return list(dict.fromkeys(row["label"] for row in rows if not runs & row.keys()))


def status(plan: Plan, paper: str, shown: PaperCoverage) -> str:
    """What a reader must know of a printed table or figure."""
    if shown.without:
        return f"nothing to run: {shown.without}"
    quoted = quoted_only(plan, paper, shown)
    said = [f"quoted only: {', '.join(quoted)}" if quoted else "", shown.note]
    return "; ".join(["runs", *filter(None, said)])


def as_markdown(plan: Plan, configfile: Path) -> str:
    """The list, with the number of trainings of each and of all."""
    lines = [
        "# Coverage",
        "",
        f"Every table and figure of the four papers, and what `{configfile}` runs for it. Generated: "
        f"`tellsign coverage --configfile {configfile} --out docs/coverage.md`; a test holds it.",
        "",
        "A run is a recipe, trained once for each of its seeds. Trainings are counted with all that they start from; "
        "equal trainings of several tables are made once, so that columns do not add up to the totals.",
    ]
    everything: list[Artifact] = []
    for paper, held in plan.papers.items():
        lines += [
            "",
            f"## {held.title}",
            "",
            "| theirs | ours | runs | trainings | status |",
            "|---|---|---:|---:|---|",
        ]
        whole: list[Artifact] = []
        for name, shown in held.artifacts.items():
            for kind, names in (("tables", shown.tables), ("figures", shown.figures)):
                for one in names:
                    choose(getattr(held, kind), one, f"name in artifacts.{name} of {paper}")
            made = made_for(plan, paper, shown)
            whole += made
            specs = [held.tables[one] for one in shown.tables] + [held.figures[one] for one in shown.figures]
            runs = len(plan.runs_in(paper, specs)) or "–"
            ours = ", ".join(f"`{paper}/{one}`" for one in (*shown.tables, *shown.figures)) or "–"
            count = len(trainings_of(made)) or "–"
            lines.append(f"| {name} | {ours} | {runs} | {count} | {status(plan, paper, shown)} |")
        lines += ["", f"{len(trainings_of(whole))} trainings in all."]
        everything += whole
    lines += ["", f"Of all papers together: {len(trainings_of(everything))} trainings.", ""]
    return "\n".join(lines)
