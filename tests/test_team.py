"""Two clones that share artifacts: over a folder, SSH and S3; links; merging; damage; pruning."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pipeline import BIN, copy_of_tree, edited, environment, planned, snakemake

from tellsign.errors import UserError
from tellsign.shared import covering, damage, entries_of, files_below, merged, unit_of

DVC = str(BIN / "dvc")
WHO = {f"GIT_{role}_{what}": "tester@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
FP = "0123456789ab"


def run(folder: Path, *command: str, check: bool = True) -> str:
    """What a command says, both streams."""
    done = subprocess.run(
        command, cwd=folder, env=environment(folder) | WHO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def tellsign(folder: Path, *arguments: str, check: bool = True) -> str:
    return run(folder, sys.executable, "-m", "tellsign", *arguments, check=check)


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "-q", "-m", message)


def bytes_of(folder: Path) -> dict[str, str]:
    """sha256 of every artifact's file in data/, by path."""
    names = [name for name in files_below(folder / "data") if unit_of(name.removeprefix(f"{folder}/"))]
    return {name.removeprefix(f"{folder}/"): hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in names}


def damaged_objects(store: Path) -> list[str]:
    """Files of a cache or remote whose bytes have not the md5 that is their name."""
    held = [p for p in (store / "files" / "md5").rglob("*") if p.is_file()]
    assert len(held) > 10
    return [
        str(p)
        for p in held
        if hashlib.md5(p.read_bytes()).hexdigest() != (p.parent.name + p.name).removesuffix(".dir")
    ]


# ------------------------------------------------------------------------------------------------ a small team


def smallest(folder: Path, images: Path) -> None:
    """Give a copy one paper with two runs, of which a table shows the first, on a folder of noise."""
    draw = np.random.default_rng(3407)
    for label in ("0_real", "1_fake"):
        (images / "noise" / label).mkdir(parents=True)
        for n in range(12):
            pixels = draw.integers(0, 256, (80, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(images / "noise" / label / f"{n}.png")
    config = yaml.safe_load((folder / "config" / "folder.yaml").read_text())
    config |= {"root": str(images), "train": "noise", "papers": ["config/folder/lol.yaml"]}
    config["evaluate"] = {"resamples": 20}
    del config["benchmarks"]["photos"], config["splits"]["photos"]
    path = folder / "config" / "folder" / "lol.yaml"
    paper = yaml.safe_load(path.read_text())
    table = {"title": "Small", "kind": "subsets", "metric": "accuracy", "rows": [{"run": "first"}]}
    paper |= {"seeds": [0], "grids": {}, "figures": {}, "tables": {"table1": table}}
    paper |= {"runs": {name: {"optimiser": {"lr": rate}} for name, rate in (("first", 1e-4), ("second", 2e-4))}}
    paper["base"]["epochs"] = 1
    path.write_text(yaml.safe_dump(paper, sort_keys=False))
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Path:
    """A folder with A's clone ``a``, which has made its tables and shared them, and the team's remote ``remote``."""
    place = tmp_path_factory.mktemp("team")
    a = copy_of_tree(place / "a")
    smallest(a, place / "images")
    run(a, "git", "init", "-q", "-b", "main")
    run(a, DVC, "remote", "add", "-q", "--default", "lab", str(place / "remote"))
    snakemake(a, "tables")
    shard = b"rows of captions"
    store = a / "data" / "store" / f"caption-x.{FP}"
    store.mkdir(parents=True)
    (store / f"{hashlib.sha256(shard).hexdigest()[:20]}.parquet").write_bytes(shard)
    said = tellsign(a, "share")
    assert "train 1" in said and "store 1" in said and "git commit data.dvc" in said
    commit(a, "First tables")
    return place


def clone(team: Path, name: str) -> Path:
    run(team, "git", "clone", "-q", "a", name)
    return team / name


@pytest.mark.slow
def test_two_clones_share_and_merge(team):
    a, b = team / "a", clone(team, "b")
    assert "arrived" in tellsign(b, "get")
    assert planned(b, "tables") == Counter()
    here = bytes_of(a)
    assert bytes_of(b) == {name: digest for name, digest in here.items() if "/store/" not in name}

    run(b, "git", "switch", "-q", "-c", "b")
    lol = Path("config", "folder", "lol.yaml")
    (b / lol).write_text((b / lol).read_text().replace("lr: 0.0001", "lr: 0.0003"))
    # exactly what depends on that run; crops are not shared
    assert planned(b, "tables") == Counter(crops=2, train=1, score=1, evaluate=1, table=1)
    snakemake(b, "tables")
    assert "4 new in data/: evaluate 1, score 1, table 1, train 1." in tellsign(b, "share")
    commit(b, "The first run at another rate")

    run(a, "git", "switch", "-q", "-c", "a")
    with_second = (a / lol).read_text().replace("- run: first\n", "- run: first\n    - run: second\n")
    (a / lol).write_text(with_second)
    assert planned(a, "tables") == Counter(train=1, score=1, evaluate=1, table=1)
    snakemake(a, "tables")
    assert "4 new in data/" in tellsign(a, "share")
    commit(a, "The second run in the table")

    run(a, "git", "fetch", "-q", str(b), "b")
    run(a, "git", "merge", "-q", "-m", "Both", "FETCH_HEAD")
    assert "3 artifacts arrived: evaluate 1, score 1, train 1." in tellsign(a, "get")
    assert planned(a, "tables") == Counter(table=1)
    assert "0 new in data/" in tellsign(a, "share")  # pushes the merged list
    c = clone(team, "c")
    tellsign(c, "get", "--table", "lol-table1")
    assert planned(c, "tables") == Counter(table=1)
