"""Share what was made here: list what is new in data.dvc, push it to the team's remote, and say what to commit.

    tellsign share             then: git commit data.dvc
    tellsign share --setup     only tell git how to merge two branches' data.dvc (share and get also do this)

An artifact in data/ is new if data.dvc does not list its path; a listed one stays as it was first shared. A
checkpoint or shard that does not match its own digest is named and not shared. Whatever data.dvc lists and the remote
lacks is pushed. Crops, resume state and logs are not shared. docs/team.md says more, and shows how to do the same
with DVC alone.

The exit status is 0, or 2 when something is wrong.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tellsign.errors import UserError
from tellsign.sharing.artifacts import DATA, covering, damage, files_below, unit_of, units_of
from tellsign.sharing.dvc import entries_of, opened, output_of, push_all, tree_of

log = logging.getLogger(__name__)
DRIVER = "merge.dvc.driver"


def main(*, remote: str | None = None, setup: bool = False) -> int:
    """Add, push and tell; see the module."""
    from dvc.repo.add import add

    folder = Path()
    set_up_merging(folder)
    if git(folder, "ls-files", "--unmerged", "data.dvc").stdout:
        raise UserError(
            "a merge has left a conflict in data.dvc: one side's artifacts would be lost. `git merge --abort`, and "
            "merge again: git merges them now. If it stops again, the other side's list is in no remote (docs/team.md)."
        )
    if setup:
        sys.stdout.write("git merges data.dvc of two branches through `tellsign merge_data` in this clone.\n")
        return 0
    with opened(folder) as repo:
        out = output_of(repo)
        listed = entries_of(tree_of(repo, out.hash_info.value, "data.dvc", remote))
        new, others = news(listed, folder)
        bad = {unit: why for unit, files in new.items() if (why := damage(unit, files, folder.joinpath))}
        if bad:
            raise UserError(
                "these are damaged and are not shared:\n"
                + "".join(f"  {unit}: {why}\n" for unit, why in bad.items())
                + "Delete them and run snakemake again; they are made anew."
            )
        if new:
            add(repo, covering(new, [*listed, *others]))
        transferred = push_all(repo, remote)
    kinds = Counter(unit.split("/")[1] for unit in new)
    listing = ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items()))
    sys.stdout.write(f"{len(new)} new in {DATA}/{': ' if new else ''}{listing}.\n")
    sys.stdout.write(f"{transferred} files pushed.\n")
    if uncommitted(folder):
        sys.stdout.write("Now: git commit data.dvc -m 'Share new artifacts' && git push\n")
    return 0


def news(listed: dict[str, str], folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Artifacts on disk that a list lacks, path → files; and the files on disk that are none of these."""
    known = units_of(listed).keys()
    new: dict[str, list[str]] = {}
    others = []
    for path in files_below(folder / DATA):
        unit = unit_of(path)
        if unit is None or unit in known:
            others.append(path)
        else:
            new.setdefault(unit, []).append(path)
    return new, others


def set_up_merging(folder: Path) -> None:
    """Name the program in this clone's git configuration that merges ``*.dvc`` (.gitattributes says ``merge=dvc``)."""
    wanted = f"'{sys.executable}' -m tellsign merge_data --ancestor %O --ours %A --theirs %B"
    answer = git(folder, "config", "--local", "--get", DRIVER)
    if answer.returncode == 128 or answer.stdout.strip() == wanted:  # 128: this is no git repository
        return
    for key, value in (("merge.dvc.name", "artifacts of both branches"), (DRIVER, wanted)):
        done = git(folder, "config", "--local", key, value)
        if done.returncode:
            raise UserError(f"git config {key} failed: {done.stderr.strip()}")
    log.info("git now merges data.dvc by its artifacts in this clone (%s)", DRIVER)


def uncommitted(folder: Path) -> bool:
    """Whether ``data.dvc`` differs from the last commit."""
    return bool(git(folder, "status", "--porcelain", "data.dvc").stdout.strip())


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What git says."""
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
