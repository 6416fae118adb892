"""Draw one figure of a paper.

Reads, as the kind needs:
  --metrics      metrics of evaluate (Parquet), for heat_map, ratio_curve, robustness_curve, steps_curve, bars
  --checkpoints  RUN=FOLDER of train, for cam, tsne and similarity_map
  --encoders     NAME=FOLDER of pretrain, for tsne and similarity_map
  --features     RUN@SPLIT=FOLDER of embed, for tsne and image_text_similarity of runs on cached features (TIDY)
  --crops        SPLIT=FOLDER: crops of a split's images; --splits, SPLIT=FILE, says which image is what

Settings: the figure's, as `tellsign.schema.figures.figure_settings` completes them.

Writes the folder --out: figure.png, figure.svg, figure.csv (the data behind it) and figure.json (its words, for the
report).
"""

from __future__ import annotations

import json
from pathlib import Path

from tellsign.results.figures.drawing import Drawing, Inputs
from tellsign.results.figures.files import csv_text, png_bytes, svg_bytes
from tellsign.results.figures.kinds import FIGURE_KINDS
from tellsign.system.files import folder_beside


def main(
    *,
    settings: dict,
    metrics: list[Path],
    checkpoints: dict[str, Path],
    encoders: dict[str, Path],
    features: dict[str, Path],
    splits: dict[str, Path],
    crops: dict[str, Path],
    out: Path,
    device: str = "auto",
) -> None:
    """Draw one figure; see the module's text.

    Raises:
        UserError: a wrong setting, a run without metrics or checkpoint, or metrics that leave a choice open.
    """
    inputs = Inputs(metrics, checkpoints, encoders, features, splits, crops, device)
    drawing: Drawing = FIGURE_KINDS.load(settings["kind"])(settings, inputs)
    note = " ".join(filter(None, (settings["note"].strip(), drawing.caption)))
    words = {"title": settings["title"], "note": note, "banner": settings["banner"]}
    page = drawing.draw(**words)
    with folder_beside(out) as part:
        (part / "figure.png").write_bytes(png_bytes(page))
        (part / "figure.svg").write_bytes(svg_bytes(page))
        (part / "figure.csv").write_text(csv_text(drawing.columns), encoding="utf-8")
        (part / "figure.json").write_text(json.dumps(words, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
