"""Does a pre-training recipe learn? One run on a folder of photographs, and a picture of all runs that were kept.

    python benchmarks/learning.py run PHOTOS NAME RECIPE.yaml
    python benchmarks/learning.py draw

``run`` takes a recipe as it stands in ``pretrain``, trains on the CPU by the pipeline's own stage and keeps the log as
docs/curves/NAME.csv. A training that collapses ends with the error that a user would see; write on_collapse: warn to
keep its curve. ``draw`` draws every curve of that folder into docs/images/pretraining.svg.

Run: OMP_NUM_THREADS=1 python benchmarks/learning.py ...
"""

from __future__ import annotations

import argparse
import csv
import math
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tellsign.results.figures.files import svg_bytes
from tellsign.results.figures.page import DASHES, LINES, drawing, legend_below, legend_height, page
from tellsign.schema.loading import build, plain
from tellsign.schema.strict_yaml import read_yaml
from tellsign.schema.training import Pretrain
from tellsign.system.integrity import sha256_of_file
from tellsign.system.parquet import write_rows
from tellsign.system.progress import log_to_stderr

DOCS = Path(__file__).parents[1] / "docs"
CURVES = DOCS / "curves"
PANELS = {
    "loss_over_chance": "loss over chance",
    "contrast": "contrast of ratios",
    "retrieved_ratio": "retrieval of the ratio",
    "retrieved_ratio_and_phase": "retrieval of ratio and phase",
}


def run(photos: Path, name: str, recipe: Path) -> None:
    """Train by a recipe and keep the log."""
    from tellsign.stages import pretrain

    spec = build(Pretrain, read_yaml(recipe), str(recipe))
    settings = {key: value for key, value in plain(spec).items() if key not in ("split", "decode")}
    columns: dict[str, list] = {"id": [], "root": [], "path": [], "height": [], "width": []}
    for path in sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")):
        with Image.open(path) as image:
            values = (sha256_of_file(path), "photos", str(path.relative_to(photos)), image.height, image.width)
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    with tempfile.TemporaryDirectory() as folder:
        split, out = Path(folder) / "split", Path(folder) / "out"
        write_rows(split, columns)
        given = {"split": split, "roots": {"photos": photos}, "out": out, "work": Path(folder) / "work"}
        pretrain.main(settings=settings, device="cpu", **given)
        shutil.copy(out / "log.csv", CURVES / f"{name}.csv")


@drawing
def curves():
    """Every kept run, a panel for each measure."""
    runs = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in sorted(CURVES.glob("*.csv"))}
    labels = [name.replace("_", " ") for name in runs]
    below = legend_height(labels)
    figure = page(4.6 + below, "", "", "")
    grid = figure.add_gridspec(3, 2, height_ratios=(2.3, 2.3, below))
    handles = []
    for place, (column, title) in enumerate(PANELS.items()):
        axes = figure.add_subplot(grid[place // 2, place % 2])
        axes.set_title(title)
        axes.set_xlabel("steps")
        axes.grid(axis="y")
        drawn = []
        for number, rows in enumerate(runs.values()):
            points = [(float(row["step"]), float(row[column] or math.nan)) for row in rows]
            points = [point for point in points if not math.isnan(point[1])]
            steps, values = zip(*points, strict=True)
            drawn += axes.plot(steps, values, color=LINES[number], linestyle=DASHES[number])
        handles = drawn
    legend_below(figure, grid, handles, labels)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Does a pre-training recipe learn?")
    work = parser.add_subparsers(dest="work", required=True)
    work.add_parser("draw")
    training = work.add_parser("run")
    for argument, kind in (("photos", Path), ("name", str), ("recipe", Path)):
        training.add_argument(argument, type=kind)
    given = parser.parse_args(sys.argv[1:])
    log_to_stderr()
    if given.work == "run":
        run(given.photos, given.name, given.recipe)
    else:
        (DOCS / "images" / "pretraining.svg").write_bytes(svg_bytes(curves()))


if __name__ == "__main__":
    main()
