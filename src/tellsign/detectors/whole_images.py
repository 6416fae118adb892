"""What detectors on crops share that may also score whole images, of whatever size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tellsign.detectors.on_crops import CropMethod
from tellsign.system.progress import progress


class WholeImages(CropMethod):
    """A detector that scores whole images where the recipe says ``whole``, else centre crops.

    Attributes:
        whole: Which of the two; a training's validation takes crops.
    """

    whole = False

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """See `Method.restore`; ``view`` also holds ``whole``, where images are scored and not a training's crops."""
        method = super().restore(settings, view, device)
        method.whole = view.get("whole", False)
        return method

    def image_logit(self, image: UInt8[Tensor, "3 h w"]) -> Float[Tensor, ""]:
        """Logit of fake of a whole image."""
        return self.logits(self.preprocess(image[None].to(self.device)))[0]

    @torch.no_grad()
    def scores(self, inputs: Mapping[str, Any], ids: Sequence[str], batch_size: int) -> Float[np.ndarray, " n"]:
        """See `Method.scores`: from whole images, one by one, or from centre crops."""
        if not self.whole:
            return super().scores(inputs, ids, batch_size)
        table = inputs["crops"]
        rows = table.rows_of(ids).tolist()
        logits = [self.image_logit(table.image(row)).cpu() for row in progress(rows, len(rows), "images scored")]
        return torch.stack(logits).sigmoid().float().numpy()
