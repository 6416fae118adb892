"""Published detectors that are a backbone and one linear layer, scored as they are: CNNDet, NPR, UniFD, GenImage's.

Their published files hold the layer and, but for UniFD's, the backbone. What training them takes is said by recipes of
the method ``image``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from tellsign.detectors.build import build_detector
from tellsign.detectors.on_crops import CropMethod
from tellsign.detectors.protocol import Sample
from tellsign.errors import UserError
from tellsign.networks.detector import Detector
from tellsign.networks.state import State, image_part, load_strictly, read_state

LAYERS = ("fc1.", "fc.", "head.", "")
"""What published files call the linear layer: NPR's, CNNDet's, Swin's, and UniFD's, which holds nothing else."""


def detector_state(state: State, own: State, fake_class: int = 1) -> dict[str, Tensor]:
    """A published file's tensors under the names of a `Detector`.

    Args:
        state: The file's tensors.
        own: The detector's; its backbone stays where the file holds none.
        fake_class: Of a layer with two outputs the one that means fake; the other is subtracted from it, so that the
            sigmoid of the logit is the softmax.

    Raises:
        UserError: there is no linear layer in it, or it has more outputs.
    """
    layer = next((name for name in LAYERS if {f"{name}weight", f"{name}bias"} <= state.keys()), None)
    if layer is None:
        raise UserError(f"it holds no linear layer; known names: {', '.join(f'{name}weight' for name in LAYERS)}.")
    outputs = len(state[f"{layer}bias"])
    if outputs > 2:
        raise UserError(f"its layer {layer}weight has {outputs} outputs; a detector's has one or two.")
    parts = {part: state[f"{layer}{part}"] for part in ("weight", "bias")}
    if outputs == 2:
        parts = {part: (both[fake_class] - both[1 - fake_class])[None] for part, both in parts.items()}
    rest = {name: tensor for name, tensor in state.items() if name not in {f"{layer}{part}" for part in parts}}
    if rest:
        backbone = {f"backbone.{name}": tensor for name, tensor in image_part(rest).items()}
    else:
        backbone = {name: tensor for name, tensor in own.items() if name.startswith("backbone.")}
    return backbone | {f"head.layer.{part}": value for part, value in parts.items()}


class ReleasedMethod(CropMethod):
    """A backbone and a linear layer of a published file, on centre crops."""

    model: Detector

    def __init__(self, model: Detector, settings: Mapping[str, Any], crop: int, device: torch.device) -> None:
        super().__init__(model, settings, crop, device)
        self.preprocess = model.backbone.preprocess

    @staticmethod
    def network(settings: Mapping[str, Any]) -> Detector:
        """See `CropMethod.network`."""
        return build_detector({**settings, "head": {"name": "linear", "init_std": None}, "trainable": "all"})

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `Method.begin`: the published weights."""
        method, weights = super().restore(settings, {"crop": settings["crop"]}, device), settings["network"]["weights"]
        what = f"the file {weights!r} for {settings['backbone']['name']!r}"
        try:
            state = detector_state(read_state(Path(weights)), method.model.state_dict(), settings["fake_class"])
        except UserError as problem:
            raise UserError(f"{what}: {problem}") from None
        load_strictly(method.model, state, what)
        return method

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """See `Method.restore`; the checkpoint holds the backbone too."""
        weightless = {**settings, "backbone": settings["backbone"] | {"weights": "none"}}
        return super().restore(weightless, view, device)
