"""Get what others made: the missing artifacts that the configuration's tables and figures are made from.

    tellsign get                                     for the demo (config/config.yaml)
    tellsign get --table mpft-table1 lol-fig4        for some tables and figures
    tellsign get --table mpft-table1 --least         as little as possible: a table that was shared comes alone
    tellsign get --configfile config/paper.yaml --config data=FOLDER

What is already here is not touched. Everything is verified before it appears in data/: each file against data.dvc,
each artifact against the sha256 that it contains. What does not match is refused by name; the rest arrives. After
--least, an edit may need inputs that did not come; the same command then gets them. docs/team.md says more, and shows
how to do the same with DVC alone.

The exit status is 0 when everything that was shared is here, 2 when something is wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tellsign.commands.configuration import plan_of, unknown_fingerprints
from tellsign.commands.doctor import chosen
from tellsign.commands.share import set_up_merging
from tellsign.errors import UserError
from tellsign.plan.artifact import Artifact
from tellsign.sharing.artifacts import damage, files_below, units_of
from tellsign.sharing.dvc import entries_of, fetch_whole, opened, output_of, place_whole, tree_of


@dataclass
class Division:
    """What is wanted, divided.

    Attributes:
        arriving: Paths of what was shared and is not here.
        made: Paths of what is neither shared nor here.
        stores: Folders of rows that can save what is made, or would be after an edit.
    """

    arriving: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    stores: set[str] = field(default_factory=set)


def main(
    *,
    configfile: Path = Path("config/config.yaml"),
    config: list[str] | None = None,
    table: list[str] | None = None,
    least: bool = False,
    remote: str | None = None,
) -> int:
    """Fetch, verify and place; see the module."""
    folder = Path()
    set_up_merging(folder)
    plan = plan_of(configfile, config or [])
    targets = [make() for make in chosen(plan, table).values()] if table else list(plan.everything().values())
    if missing := unknown_fingerprints(plan, targets):
        raise UserError(
            f"{missing}\n\nThe fingerprints of what is asked for follow from these, so it cannot be told which "
            "artifacts are right. Ask for tables that need none of them (--table), or take what was shared as it is: "
            "dvc pull data/table"
        )
    with opened(folder) as repo:
        tree = tree_of(repo, output_of(repo).hash_info.value, "data.dvc", remote)
        shared = units_of(entries_of(tree))
        wanted = divide(targets, shared, folder, least)
        good, wrong = fetch_whole(repo, {path: shared[path] for path in wanted.arriving}, remote)
        for path in sorted(good, key=lambda path: not path.endswith("/made.json")):  # a store says first whose it is
            place_whole(repo, tree, path)
    kinds = Counter(path.split("/")[1] for path in good)
    listed = ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items()))
    sys.stdout.write(f"{len(good)} artifacts arrived{': ' if listed else ''}{listed}.\n")
    if made := [path for path in wanted.made if path.startswith("data/")]:
        sys.stdout.write(f"{len(made)} were shared by nobody; snakemake makes those of them that it needs.\n")
    if wrong:
        raise UserError(refusal(wrong, shared))
    return 0


def divide(targets: Iterable[Artifact], shared: Mapping[str, Mapping[str, str]], folder: Path, least: bool) -> Division:
    """What of the targets, and of all they are made from, is to come and what is to be made.

    Args:
        targets: Tables, figures or any artifacts.
        shared: Artifacts that data.dvc lists, path → files.
        folder: The clone.
        least: Leave out what only artifacts need that are here or come.
    """
    division, seen, todo = Division(), set(), list(targets)
    while todo:
        artifact = todo.pop()
        if artifact.path in seen:
            continue
        seen.add(artifact.path)
        there = is_here(folder, artifact.path, shared.get(artifact.path, {}))
        if not there:
            (division.arriving if artifact.path in shared else division.made).append(artifact.path)
        if least and (there or artifact.path in shared):
            continue
        todo += [other for inputs in artifact.needs.values() for _, other in inputs]
        if artifact.store:
            division.stores.add(artifact.store)
    shards = [path for path in shared if path.rpartition("/")[0] in division.stores and not (folder / path).exists()]
    division.arriving = sorted([*division.arriving, *shards])
    return division


def is_here(folder: Path, path: str, files: Iterable[str]) -> bool:
    """Whether an artifact is here, with all files that were shared of it or whole as it says of itself.

    A plain `dvc pull` may have been killed; and one that was made here may have other files than the one shared.
    """
    if not (folder / path).exists():
        return False
    if all((folder / file).exists() for file in files):
        return True
    below = [Path(file).relative_to(folder).as_posix() for file in files_below(folder / path)]
    return damage(path, below or [path], folder.joinpath) is None


def refusal(wrong: Mapping[str, str], shared: Mapping[str, Mapping[str, str]]) -> str:
    """What did not arrive and why, and what to do about it."""
    lines = [f"{len(wrong)} artifacts were refused:"]
    for path, why in sorted(wrong.items()):
        lines += [f"  {path}", f"    {why}"]
    lines.append(
        "They are not in data/; snakemake makes them anew. Or mend the remote: whoever made them runs `tellsign "
        "share`, which pushes what is missing there; where bytes are wrong, delete files/md5/ and the first two digits "
        "/ the others of the md5 there first, since DVC does not replace what is there."
    )
    return "\n".join(lines)
