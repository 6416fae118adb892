"""Detectors and backbones applied to the centre crops of many images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tellsign.data.pixels import PixelTable
from tellsign.networks.backbones.backbone import Backbone
from tellsign.networks.detector import Detector
from tellsign.system.devices import sent
from tellsign.system.progress import progress


def brought_back(results: Iterable[Tensor]) -> Iterator[Tensor]:
    """Results on the CPU, each after the next has been asked for: so the host cuts a batch while a GPU computes one."""
    waiting: deque[Tensor] = deque()
    for result in results:
        waiting.append(result)
        if len(waiting) > 1:
            yield waiting.popleft().cpu()
    yield from (result.cpu() for result in waiting)


@torch.no_grad()
def on_center_crops(
    compute: Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b ..."]],
    backbone: Backbone,
    table: PixelTable,
    rows: Int64[Tensor, " n"],
    size: int,
    batch_size: int,
    what: str,
) -> Float[Tensor, "n ..."]:
    """Outputs for the preprocessed centre crops of some rows of a table, fp32, on the CPU.

    Args:
        compute: Preprocessed images to outputs.
        backbone: Its preprocessing is applied, on its device.
        table: Decoded images.
        rows: Which of them.
        size: Side of the crops.
        batch_size: Images computed at once.
        what: Name of the batches in the log.
    """
    device = next(backbone.parameters()).device
    batches = rows.split(batch_size)
    pixels = (sent(table.center_crops(batch, size), device) for batch in progress(batches, len(batches), what))
    return torch.cat([*brought_back(compute(backbone.preprocess(x)).float() for x in pixels)])


def score_images(
    detector: Detector, table: PixelTable, rows: Int64[Tensor, " n"], size: int, batch_size: int
) -> Float[np.ndarray, " n"]:
    """p(fake) of some rows of a table, from their centre crops."""
    scores = on_center_crops(detector.scores, detector.backbone, table, rows, size, batch_size, "batches scored")
    return scores.numpy()


def features_of(
    backbone: Backbone, table: PixelTable, rows: Int64[Tensor, " n"], size: int, batch_size: int
) -> Float[Tensor, "n d"]:
    """Features of some rows of a table, from their centre crops."""
    return on_center_crops(backbone, backbone, table, rows, size, batch_size, "batches of features")
