"""What detectors look at in pictures: one PNG a picture, and a page of HTML that lists them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from tellsign.errors import UserError
from tellsign.evaluation.explain import as_share, class_activation
from tellsign.methods.masks import MASKS
from tellsign.networks.detector import Detector
from tellsign.prediction.predictor import Predictor, pixels_of
from tellsign.prediction.rows import Row
from tellsign.system.files import folder_beside

Pixels = UInt8[np.ndarray, "h w 3"]

OPACITY = 0.6
"""Of the heat map over the grey picture, as in the figures of the papers."""

HEAD = """<!doctype html>
<meta charset="utf-8"><title>tellsign: what detectors look at</title>
<style>
body {{ font: 15px sans-serif; max-width: 60em; margin: 1em auto }}
img {{ display: block; max-width: 100% }}
</style>
<p>{note}</p>
"""


def detector_of(predictor: Predictor) -> Detector:
    """The backbone and head of a predictor.

    Raises:
        UserError: it has none, or its backbone has no spatial map.
    """
    model = predictor.method.model
    if not isinstance(model, Detector) or model.backbone.map_layer is None:
        raise UserError(
            f"{predictor.source.name}: its network has no spatial map whose place is known, so that --explain can draw "
            "no heat map of it. Leave --explain out, or ask a detector of a backbone and a head."
        )
    return model


def overlay(pixels: Pixels, heat: Float[np.ndarray, "rows columns"]) -> Pixels:
    """A heat map in [0, 1] over the grey picture, enlarged by bilinear filtering."""
    import matplotlib as mpl

    height, width = pixels.shape[:2]
    large = np.asarray(Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    colours = mpl.colormaps["inferno"](np.clip(large, 0, 1))[..., :3] * 255
    grey = pixels.mean(2, keepdims=True)
    return np.rint(OPACITY * colours + (1 - OPACITY) * grey).astype(np.uint8)


def panels(predictor: Predictor, crop: Pixels) -> list[Pixels]:
    """Grad-CAM of the evidence for fake over what the detector sees; for MPFT also the crop under its texture mask.

    The mask hides as much as the middle of the range that its training draws from.
    """
    detector, settings = detector_of(predictor), predictor.recipe
    device = next(detector.parameters()).device
    x = detector.backbone.preprocess(torch.from_numpy(crop).permute(2, 0, 1)[None].to(device))
    maps, _ = class_activation(detector.backbone, detector.head, x, torch.ones(1, dtype=torch.int64), "fake")
    drawn = [overlay(crop, as_share(maps.cpu().numpy(), "image")[0])]
    mask = dict(settings.get("mask") or {})
    if mask.pop("name", "") == "texture_aware":
        middle = sum(mask["ratio"]) / 2
        hide = MASKS.load("texture_aware")
        kept = hide(x, torch.Generator().manual_seed(0), **mask | {"ratio": (middle, middle)})
        drawn.append(crop * kept[0, 0].cpu().numpy().astype(np.uint8)[..., None])
    return drawn


def seen_by(predictor: Predictor, pixels: Pixels) -> list[Pixels]:
    """What a detector sees of a decoded picture, and its `panels`."""
    crop = predictor.prepared(pixels)
    return [crop, *panels(predictor, crop)]


def explain(rows: Iterable[Row], predictors: Sequence[Predictor], folder: Path, note: str) -> None:
    """Write a folder with a PNG for each picture, the crop beside what each detector looks at, and ``index.html``.

    Args:
        rows: The pictures.
        predictors: The detectors.
        folder: It must not be there yet.
        note: Said at the top of the page.

    Raises:
        UserError: a file has become unreadable since it was scored.
    """
    with folder_beside(folder) as part:
        lines = [HEAD.format(note=html.escape(note))]
        for number, row in enumerate(rows, start=1):
            lines.append(f"<p>{html.escape(str(row.path))}: {html.escape(row.problem)}")
            if row.problem:
                continue
            scores = zip(predictors, row.scores, strict=True)
            said = ", ".join(f"{one.source.name} {score:.3f}" for one, score in scores)
            name = f"{number:05}-{re.sub(r'[^A-Za-z0-9._-]', '_', row.path.stem)[:60]}.png"
            Image.fromarray(side_by_side(row.path, predictors)).save(part / name)
            lines[-1] += f'p(fake): {html.escape(said)} <img src="{name}" alt="crop and heat maps">'
        (part / "index.html").write_text("\n".join(lines) + "\n", encoding="utf-8")


def side_by_side(path: Path, predictors: Sequence[Predictor]) -> Pixels:
    """What each detector sees of a picture, and what it looks at, from left to right."""
    pixels = pixels_of(path)
    drawn = [image for predictor in predictors for image in seen_by(predictor, pixels)]
    height = max(image.shape[0] for image in drawn)
    sheet = np.full((height, sum(image.shape[1] for image in drawn), 3), 255, np.uint8)
    left = 0
    for image in drawn:
        sheet[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1]
    return sheet
