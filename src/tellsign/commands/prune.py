"""Remove what no configuration uses any more: list it, and with --yes delete it and take it out of data.dvc.

    tellsign prune --configfile config/config.yaml --configfile config/paper-small.yaml
    tellsign prune --configfile config/config.yaml --yes
    tellsign prune --configfile config/paper.yaml --scored --yes    checkpoints too that have done their work

It keeps what the plan of any --configfile names, with the configurations and the code as they are now. The default is
config/config.yaml alone, so name all configurations that you use. --config applies to each of them. It removes
artifacts in data/, crops in cache/, the resume state of unfinished trainings, and stores of rows that nothing would
read; it also removes their lines from data.dvc, whether or not their files are here. The cache and the remote keep
the bytes for older commits; docs/team.md says how DVC itself removes those. Do not run snakemake at the same time.

With --scored it also removes checkpoints of which everything is made that the configurations make from them: scores,
figures, trainings that start from them. Metrics and tables need no checkpoint. What reads it later, such as a new test
set, a new figure or `tellsign predict`, needs it back: by `tellsign get`, as data.dvc still lists it, or trained again.

The exit status is 0, or 2 when something is wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tellsign.commands.amounts import Amount, disk
from tellsign.commands.configuration import plan_of, unknown_fingerprints
from tellsign.errors import UserError
from tellsign.plan.artifact import Artifact, unmade
from tellsign.sharing.artifacts import files_below, unit_of, units_of
from tellsign.sharing.dvc import ENTRY, entries_of, opened, output_of, remove, tree_of, write_list
from tellsign.stages.registry import FINGERPRINT, STAGES

CROPS = re.compile(re.escape(STAGES["crops"].path).replace(r"\{name\}", r"[^/]+").replace(r"\{fp\}", FINGERPRINT))
WORK = Path("data/work")


def main(
    *,
    configfile: list[Path] | None = None,
    config: list[str] | None = None,
    scored: bool = False,
    yes: bool = False,
) -> int:
    """List, and remove when told to; see the module.

    Args:
        configfile: The configurations whose artifacts are kept.
        config: KEY=VALUE, as for snakemake.
        scored: Checkpoints go as well where everything is made that is made from them.
        yes: Remove what is listed.
    """
    folder = Path()
    artifacts: dict[str, Artifact] = {}
    for file in configfile or [Path("config/config.yaml")]:
        plan = plan_of(file, config or [])
        everything = plan.everything()
        if missing := unknown_fingerprints(plan, everything.values()):
            raise UserError(
                f"{file}: {missing}\n\nThe fingerprints of its artifacts follow from these, so it cannot be told which "
                "ones are still wanted. Nothing was removed."
            )
        artifacts |= everything
    kept = Kept(artifacts.values())
    with opened(folder) as repo:
        listed = entries_of(tree_of(repo, output_of(repo).hash_info.value, ENTRY))
        gone = {path: files for path, files in units_of(listed).items() if unit_of(path) and path not in kept}
        done = spent(artifacts.values(), folder) if scored else []
        here = [*unwanted(folder, kept), *done]
        sys.stdout.write(listing(here, gone, done, folder))
        if not yes or not (here or gone):
            sys.stdout.write("Nothing was removed; add --yes.\n" if here or gone else "")
            return 0
        if gone:
            write_list(repo, {p: m for p, m in listed.items() if (unit_of(p) or p) not in gone}, folder / ENTRY)
    for path in here:
        remove(folder / path)
    sys.stdout.write("Removed.\n")
    if gone:
        sys.stdout.write("Now: tellsign share, and git commit data.dvc -m 'Drop artifacts that no plan names'\n")
    return 0


class Kept:
    """What the plans name: artifacts, stores by their folder, resume state by its fingerprint."""

    def __init__(self, artifacts: Iterable[Artifact]) -> None:
        artifacts = list(artifacts)
        self.paths = {artifact.path for artifact in artifacts}
        self.stores = {artifact.store for artifact in artifacts if artifact.store}
        self.fingerprints = {artifact.fingerprint for artifact in artifacts}

    def __contains__(self, path: str) -> bool:
        return path in self.paths or path.rpartition("/")[0] in self.stores


def unwanted(folder: Path, kept: Kept) -> list[str]:
    """Artifacts, crops, shards and resume state on disk that no plan names."""
    units = {unit for path in files_below(folder / "data") if (unit := unit_of(path)) and unit not in kept}
    crops = {path.as_posix() for path in (folder / "cache" / "crops").glob("*") if path.is_dir()}
    units |= {path for path in crops if CROPS.fullmatch(path) and path not in kept}
    state = [path for path in (folder / WORK).glob("*") if path.name not in ("caption", "ground")]
    work = [path for path in state if path.name.partition(".")[0] not in kept.fingerprints]
    return sorted([*units, *(path.as_posix() for path in work)])


def spent(artifacts: Iterable[Artifact], folder: Path) -> list[str]:
    """Checkpoints on disk from which nothing is left to be made."""

    def is_made(artifact: Artifact) -> bool:
        return (folder / artifact.path).exists()

    parts: dict[bool, list[Artifact]] = {True: [], False: []}
    for artifact in artifacts:
        parts[STAGES[artifact.stage].cost in ("training", "head")].append(artifact)
    needed = {need.path for artifact in unmade(parts[False], is_made).values() for need in artifact.inputs}
    return sorted(made.path for made in parts[True] if made.path not in needed and is_made(made))


def size_of(path: Path) -> int:
    """Bytes of a file or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def listing(here: Iterable[str], gone: Mapping[str, Iterable[str]], done: Sequence[str], folder: Path) -> str:
    """What would be removed, a line each.

    Args:
        here: What is here.
        gone: What data.dvc would no longer list.
        done: What of ``here`` has done its work, though a plan names it.
        folder: Where it lies.
    """
    lines = []
    for path in here:
        mark = "  (scored)" if path in done else "" if path in gone else "  (not in data.dvc)"
        lines.append(f"{size_of(folder / path) / 1e6:10.1f} MB  {path}{mark}")
    lines += [f"     not here  {path}" for path in sorted(gone) if not (folder / path).exists()]
    unnamed, total = len(lines) - len(done), sum(size_of(folder / path) for path in done)
    lines.append(f"{unnamed} are named by no plan." if unnamed else "Every artifact is named by a plan.")
    if done:
        lines.append(f"{len(done)} checkpoints have done their work; they hold {disk(Amount(total))}.")
    return "\n".join(lines) + "\n"
