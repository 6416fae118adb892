"""Running the pipeline in a copy of the working tree, as a user would."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import yaml
from conftest import ROOT

from tellsign.stages.registry import STAGES

BIN = Path(sys.executable).parent


def fork_processes(served: int) -> dict[int, psutil.Process]:
    """The fork server of a process, and what it has forked, by number."""
    found: dict[int, psutil.Process] = {}
    for candidate in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended
            if candidate.cmdline()[2:3] == ["tellsign.fork_server"] and candidate.cmdline()[-1] == str(served):
                found[candidate.pid] = candidate
    return found


def offline() -> list[str]:
    """A prefix that takes the network away, where this user may do so."""
    for prefix in (["unshare", "-n"], ["unshare", "-rn"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
        ):
            return prefix
    return []


def copy_of_tree(folder: Path) -> Path:
    """The files that git would commit, copied: a clone of the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Jobs import the copy's sources, not the ones this environment was made for."""
    return os.environ | {"PYTHONPATH": str(folder / "src")}


def snakemake(folder: Path, *arguments: str, check: bool = True) -> str:
    """Run snakemake in a copy; return all that it said."""
    done = subprocess.run(
        [*offline(), str(BIN / "snakemake"), "--cores", "2", *arguments],
        cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def planned(folder: Path, *arguments: str) -> Counter[str]:
    """How many jobs of each rule a dry run would start."""
    said = snakemake(folder, *arguments, "-n")
    table = re.findall(r"^(\w+) +(\d+)$", said, flags=re.M)
    counts = Counter({rule: int(n) for rule, n in table if rule in STAGES})
    assert counts or "Nothing to be done" in said, said
    return counts


def tables_of(folder: Path) -> dict[str, str]:
    """Digest of every table file that results/ shows."""
    found = sorted((folder / "results").glob("*/*/*/table.*"))
    assert found
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


@contextlib.contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """A file with one text replaced, and as it was again after the block."""
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(text)


def shrink(folder: Path) -> Path:
    """Rewrite a copy's demo to a few images, two generators and a few steps."""
    config = yaml.safe_load((folder / "config" / "config.yaml").read_text())
    for part in config["demo"]["photos"].values():
        part["count"] = 12
    chosen = {name: config["demo"]["generators"][name] for name in ("ldm", "fsq")}
    for generator in chosen.values():
        generator.update(steps=4, train_count=12, test_count=12)
    config["demo"]["generators"] = chosen
    for split in ("train", "test", "test-few"):
        config["splits"][split]["count"] = 24
    config["evaluate"]["resamples"] = 20
    wanted = {"mpft": ["tam"], "lol": ["lol"], "rescale": ["full"], "tidy": ["both"]}
    for name, runs in wanted.items():
        path = folder / "config" / "demo" / f"{name}.yaml"
        paper = yaml.safe_load(path.read_text())
        paper |= {"seeds": [0], "runs": {run: paper["runs"][run] for run in runs}, "grids": {}, "figures": {}}
        paper["base"]["epochs"] = 2
        for spec in paper.get("pretrain", {}).values():
            spec.update(epochs=2, steps=2)
        paper["tables"] = {
            "table1": {"title": name, "kind": "subsets", "metric": "accuracy", "rows": [{"run": run} for run in runs]}
        }
        path.write_text(yaml.safe_dump(paper, sort_keys=False))
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder
