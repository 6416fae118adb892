"""Size and evaluation of the scores of 100,000 images (GenImage's test sets) x 500 checkpoints, on made scores.

One run of five checkpoints and one of a single checkpoint are written and evaluated; 500 checkpoints are 100 runs of
the one kind or 500 of the other. Printed beside, from the same process: the file that pyarrow writes by default, and
the resamples by weights (``measure``), as ratios. Seconds are CPU seconds; memory is that of the evaluating process.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from timing import seconds

from tellsign.evaluation.measuring import Scored, balanced, bootstrap, measure, resampled, strata
from tellsign.evaluation.scores import join_scores
from tellsign.schema.evaluation import Evaluate
from tellsign.schema.loading import plain
from tellsign.stages import evaluate
from tellsign.system.parquet import column, read_rows, write_rows

SUBSETS = {name: 12_000 for name in ("adm", "biggan", "glide", "midjourney", "sdv14", "vqdm", "wukong")} | {
    "sdv15": 16_000
}
CHECKPOINTS, RESAMPLES = 500, 1000
SETTINGS = plain(Evaluate(resamples=RESAMPLES)) | {
    "paper": "mpft", "run": "tam", "recipe": "r", "code": "c", "data": "d", "protocol": "",
    "tests": {"test": {"benchmark": "genimage", "perturbation": "none"}},
}  # fmt: skip


def listing() -> pa.Table:
    """A split of all images."""
    rows = [(name, label, k) for name, count in SUBSETS.items() for label in (0, 1) for k in range(count // 2)]
    ids = [hashlib.sha256(repr(row).encode()).hexdigest() for row in rows]
    columns = {"subset": [row[0] for row in rows], "id": ids, "label": np.array([row[1] for row in rows], np.int8)}
    return pa.table({name: column(values) for name, values in columns.items()})


def made_scores(split: pa.Table, epoch: int) -> pa.Table:
    """Scores of a detector that is right nine times of ten."""
    draw = np.random.default_rng(epoch)
    logits = draw.normal(split["label"].to_numpy() * 4.0 - 2.0, 1.6)
    facts = {"paper": "mpft", "run": "tam", "seed": 0, "epoch": epoch, "benchmark": "genimage", "perturbation": "none"}
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return join_scores(split, split["id"].to_pylist(), scores, facts)


def evaluate_run(folder: Path) -> None:
    """Evaluate what lies in a folder, and print seconds and megabytes."""
    start = time.process_time()
    evaluate.main(
        settings=SETTINGS,
        scores=[folder / "scores.parquet"],
        splits={"test": folder / "split.parquet"},
        out=folder / "metrics.parquet",
    )
    used = time.process_time() - start
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(f"{used:.1f} {int(peak) / 1000:.0f}")


def resampling_ratio(split: pa.Table, scores: np.ndarray) -> tuple[float, float]:
    """Seconds of 1,000 resamples of one checkpoint, by rankings and by weights."""
    names = split["subset"].to_pylist()
    labels = split["label"].to_numpy().astype(np.int64)
    number = np.array([list(SUBSETS).index(name) for name in names])
    groups = strata(number, np.arange(len(names)), labels)
    chosen = [np.flatnonzero(number == k) for k in range(len(SUBSETS))]
    sets = [Scored(rows, labels[rows], scores[rows]) for rows in chosen]
    few = 20

    def by_weights() -> None:
        for counts in resampled(groups, few, np.random.default_rng(0)):
            for one in sets:
                measure(one.labels, one.scores, 0.5, balanced(counts[:, one.image].astype(float), one.labels))

    ours = seconds(lambda: bootstrap(sets, groups, 0.5, few, np.random.default_rng(0)), 3)
    return ours * RESAMPLES / few, seconds(by_weights, 3) * RESAMPLES / few


def main() -> None:
    if len(sys.argv) > 1:
        evaluate_run(Path(sys.argv[1]))
        return
    split = listing()
    for epochs in (5, 1):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_rows(folder / "split.parquet", split)
            table = pa.concat_tables([made_scores(split, epoch) for epoch in range(epochs)])
            write_rows(folder / "scores.parquet", table, {"images_seen": '{"0": 0}'})
            pq.write_table(table, folder / "plain.parquet", compression="zstd")
            ours, plainly = ((folder / file).stat().st_size / epochs for file in ("scores.parquet", "plain.parquet"))
            print(f"{epochs} checkpoint(s) a run: {ours / 1e6:.2f} MB each, {ours * CHECKPOINTS / 1e9:.2f} GB in all")
            print(f"  pyarrow's default: {plainly / 1e6:.2f} MB, {plainly / ours:.1f} times as much")
            assert read_rows(folder / "scores.parquet").equals(read_rows(folder / "plain.parquet"))
            done = subprocess.run(
                [sys.executable, __file__, str(folder)], capture_output=True, text=True, check=True
            ).stdout.split()
            runs = CHECKPOINTS // epochs
            print(f"  evaluate: {done[0]} s a run, {float(done[0]) * runs / 60:.0f} min for {runs} runs, {done[1]} MB")
    ours, naive = resampling_ratio(split, made_scores(split, 0)["score"].to_numpy())
    print(f"{RESAMPLES} resamples of one checkpoint: {ours:.1f} s")
    print(f"  by weights: {naive:.1f} s, {naive / ours:.1f} times as long")


if __name__ == "__main__":
    main()
