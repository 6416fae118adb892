"""How time and memory grow: with images for index, split and evaluate, with runs for plan and dry run, with test sets
for score.

Every case runs in a process of its own, on made data. CPU seconds are those of the work alone; memory is what the
process grew by at its peak. The exponent k of time ~ n^k is that of the two largest sizes; 1 is linear. Run:

    python benchmarks/growth.py              in minutes
    python benchmarks/growth.py --large      up to ten million rows; an hour and 60 GB of memory
    python benchmarks/growth.py split 1000   one case at one size
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parent.parent
SUBSETS = 8
"""Generators that made images are spread over."""


@contextlib.contextmanager
def measured() -> Iterator[None]:
    """Print CPU seconds of the body, its children's included, and the megabytes that the process grew by."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    def peak() -> int:
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return max(resource.getrusage(who).ru_maxrss for who in whose)

    start, before = used(), peak()
    yield
    sys.stdout.write(f"{used() - start:.3f} {(peak() - before) / 1000:.0f}\n")


def named(number: int) -> str:
    """The id of a made image."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def index(count: int, folder: Path) -> None:
    """Index images of 8 × 8 pixels, all different."""
    from tellsign.stages import index as stage

    for number in range(count):
        place = folder / f"g{number % SUBSETS}" / ("1_fake" if number // SUBSETS % 2 else "0_real")
        place.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, 192, dtype=np.uint8).tobytes()
        (place / f"{number}.ppm").write_bytes(b"P6 8 8 255\n" + noise)
    settings = {"benchmark": "made", "layout": "folder", "subsets": [], "part": None, "exclude": [], "folders": {},
                "reals": {}, "parts": {}, "min_side": 8, "max_pixels": 100, "test_fraction": 0.5, "seed": 0,
                "on_bad": "fail"}  # fmt: skip
    with measured():
        stage.main(settings=settings, roots={"root": folder}, out=folder / "index.parquet")


def listing(count: int) -> dict[str, Any]:
    """The columns of an index of made images, half of them fake, in every subset."""
    numbers = np.arange(count)
    columns: dict[str, Any] = {name: ["made"] * count for name in ("generator", "class", "root", "format", "mode")}
    return columns | {
        "subset": [f"g{number % SUBSETS}" for number in range(count)],
        "part": ["test"] * count,
        "label": (numbers // SUBSETS % 2).astype(np.int8),
        "id": [named(number) for number in range(count)],
        "path": [f"{number}.png" for number in range(count)],
        "width": np.full(count, 64, np.int32),
        "height": np.full(count, 64, np.int32),
        "status": ["ok"] * count,
    }


def split(count: int, folder: Path) -> None:
    """Take half of the images of an index."""
    from tellsign.stages import split as stage
    from tellsign.system.parquet import write_rows

    write_rows(folder / "index.parquet", listing(count))
    settings = {"part": "test", "subsets": [], "count": count // SUBSETS // 4 * 2, "seed": 0, "per_class": None,
                "fallback": None, "skip": 0, "on_bad": "fail"}  # fmt: skip
    with measured():
        stage.main(settings=settings, index=[folder / "index.parquet"], out=folder / "split.parquet")


def evaluate(count: int, folder: Path) -> None:
    """Evaluate one run of one checkpoint, with twenty resamples."""
    from tellsign.schema.evaluation import Evaluate
    from tellsign.schema.loading import plain
    from tellsign.stages import evaluate as stage
    from tellsign.system.parquet import write_rows

    rows = {name: values for name, values in listing(count).items() if name in ("subset", "id", "label")}
    facts = {"paper": "made", "run": "run", "benchmark": "made", "perturbation": "none"}
    noise = np.random.default_rng(0).normal(rows["label"] * 4.0 - 2.0, 1.6)
    scores = rows | {name: [value] * count for name, value in facts.items()}
    scores |= {"seed": np.zeros(count, np.int64), "epoch": np.zeros(count, np.int64)}
    scores |= {"score": (1 / (1 + np.exp(-noise))).astype(np.float32)}
    write_rows(folder / "scores.parquet", scores, {"images_seen": '{"0": 0}'})
    write_rows(folder / "split.parquet", rows)
    settings = plain(Evaluate(resamples=20)) | {"paper": "made", "run": "run", "recipe": "r", "code": "c", "data": "d",
                "protocol": "", "tests": {"test": {"benchmark": "made", "perturbation": "none"}}}  # fmt: skip
    with measured():
        stage.main(settings=settings, scores=[folder / "scores.parquet"], splits={"test": folder / "split.parquet"},
                   out=folder / "metrics.parquet")  # fmt: skip


def configuration(count: int, folder: Path) -> dict[str, Any]:
    """The demo's configuration with one paper: a grid of so many runs, and their table."""
    paper = {
        "paper": "many", "title": "Many runs", "seeds": [0],
        "base": {"data": {"split": "train", "subsets": ["ldm"]}, "backbone": {"name": "demo-clip-vit",
                 "weights": "shipped"}, "crop": 72},
        "runs": {},
        "grids": {"rates": {"over": {"optimiser.lr": [1e-3 + 1e-7 * number for number in range(count)]}}},
        "tests": {"test": {"split": "test"}},
        "tables": {"rates": {"title": "Rates", "kind": "grid", "grid": "rates", "metric": "accuracy",
                   "rows": {"field": "optimiser.lr", "label": "rate"}}},
    }  # fmt: skip
    (folder / "many.yaml").write_text(yaml.safe_dump(paper), encoding="utf-8")
    values = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    return values | {"papers": [str(folder / "many.yaml")]}


def plan(count: int, folder: Path) -> None:
    """Plan everything that runs of a grid need."""
    from tellsign.commands.configuration import plan_without_data

    values = configuration(count, folder)
    with measured():
        plan_without_data(values, ROOT).everything()


def dry_run(count: int, folder: Path) -> None:
    """Let Snakemake say what it would do for the runs of a grid."""
    configfile = folder / "many-runs.yaml"
    configfile.write_text(yaml.safe_dump(configuration(count, folder)), encoding="utf-8")
    snakemake = Path(sys.executable).parent / "snakemake"
    words = [str(snakemake), "tables", "-n", "--configfile", str(configfile), "--directory", str(ROOT)]
    with measured():
        subprocess.run(words, cwd=ROOT, capture_output=True, check=True)


def score(count: int, folder: Path) -> None:
    """Score as many test sets of 100 images with a bank of features."""
    from tellsign.commands.configuration import plan_without_data
    from tellsign.stages import score as scoring
    from tellsign.stages import train as training
    from tellsign.system.parquet import write_rows

    values, images = configuration(1, folder), 100
    paper = yaml.safe_load((folder / "many.yaml").read_text(encoding="utf-8"))
    bank = {"trainable": "head", "head": {"name": "nearest"}, "epochs": 0, "flip": False, "rotate": False}
    del paper["grids"], paper["tables"]
    paper |= {"runs": {"bank": bank}, "tests": {f"test{number}": {"split": "test"} for number in range(count)}}
    (folder / "many.yaml").write_text(yaml.safe_dump(paper), encoding="utf-8")
    plan = plan_without_data(values, ROOT)
    run = plan.run("many", "bank")
    rows = {name: values for name, values in listing(images).items() if name in ("id", "label")}
    write_rows(folder / "split.parquet", rows | {"subset": ["ldm"] * images, "rank": list(range(images))})
    sides = np.full(images, 72, np.int32)
    crops = {"id": rows["id"], "height": sides, "width": sides, "offset": np.arange(images) * 72 * 72}
    write_rows(folder / "images.parquet", crops)
    noise = np.random.default_rng(0).integers(0, 256, (images * 72 * 72, 3), dtype=np.uint8)
    np.save(folder / "pixels.npy", noise)
    training.main(settings=plan.checkpoint(run, 0).settings, split=folder / "split.parquet", inputs={"crops": folder},
                  out=folder / "bank", work=folder / "work", device="cpu")  # fmt: skip
    settings = plan.score(run).settings
    with measured():
        scoring.main(settings=settings, checkpoints={"0": folder / "bank"}, out=folder / "scores.parquet",
                     splits={test: folder / "split.parquet" for test in settings["tests"]},
                     inputs={f"crops@{test}": folder for test in settings["tests"]}, device="cpu")  # fmt: skip


CASES: dict[str, tuple[Callable[[int, Path], None], str, tuple[int, ...], tuple[int, ...]]] = {
    "index": (index, "images", (300, 3_000, 30_000), (300, 3_000, 30_000, 300_000)),
    "split": (split, "rows", (10**3, 10**4, 10**5), (10**3, 10**4, 10**5, 10**6, 10**7)),
    "evaluate": (evaluate, "rows", (10**3, 10**4, 10**5, 10**6), (10**3, 10**4, 10**5, 10**6, 10**7)),
    "plan": (plan, "runs", (10, 100, 1_000), (10, 100, 1_000, 5_000)),
    "dry-run": (dry_run, "runs", (10, 100, 500), (10, 100, 1_000, 5_000)),
    "score": (score, "test sets", (2, 8, 32), (2, 8, 32, 128)),
}
"""Case → what is measured, what is counted, and the sizes, without and with ``--large``."""


def one(case: str, size: int) -> None:
    """Measure a case at one size, and print seconds and megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        CASES[case][0](size, Path(folder))


def row(case: str, sizes: tuple[int, ...]) -> str:
    """One row of the table: each size's seconds and megabytes, and the exponent."""
    found = []
    for size in sizes:
        words = [sys.executable, "-W", "ignore", __file__, case, str(size)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        seconds, megabytes = done.stdout.split()
        found.append((size, float(seconds), int(megabytes)))
    (n, before, _), (m, after, _) = found[-2:]
    exponent = math.log(after / before) / math.log(m / n)
    cells = "; ".join(f"{size:,}: {seconds:.2f} s, {megabytes} MB" for size, seconds, megabytes in found)
    return f"| {case} | {CASES[case][1]} | {cells} | {exponent:.2f} |\n"


def main(words: list[str]) -> None:
    large = words == ["--large"]
    if words and not large:
        one(words[0], int(words[1]))
        return
    sys.stdout.write("| stage | grows with | CPU seconds and memory | exponent |\n|---|---|---|---:|\n")
    for case, (_, _, sizes, more) in CASES.items():
        sys.stdout.write(row(case, more if large else sizes))
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
