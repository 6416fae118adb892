"""Published detectors that are a backbone and one linear layer, scored as they are: CNNDet, NPR, UniFD.

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

LAYERS = ("fc1.", "fc.", "")
"""What published files call the linear layer: NPR's, CNNDet's, and UniFD's, which holds nothing else."""


def detector_state(state: State, own: State) -> dict[str, Tensor]:
    """A published file's tensors under the names of a `Detector`.

    Args:
        state: The file's tensors.
        own: The detector's; its backbone stays where the file holds none.

    Raises:
        UserError: there is no linear layer in it.
    """
    layer = next((name for name in LAYERS if {f"{name}weight", f"{name}bias"} <= state.keys()), None)
    if layer is None:
        raise UserError(f"it holds no linear layer; known names: {', '.join(f'{name}weight' for name in LAYERS)}.")
    head = {f"{layer}{part}": f"head.layer.{part}" for part in ("weight", "bias")}
    rest = {name: tensor for name, tensor in state.items() if name not in head}
    if rest:
        backbone = {f"backbone.{name}": tensor for name, tensor in image_part(rest).items()}
    else:
        backbone = {name: tensor for name, tensor in own.items() if name.startswith("backbone.")}
    return backbone | {ours: state[name] for name, ours in head.items()}


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
            state = detector_state(read_state(Path(weights)), method.model.state_dict())
        except UserError as problem:
            raise UserError(f"{what}: {problem}") from None
        load_strictly(method.model, state, what)
        return method

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """See `Method.restore`; the checkpoint holds the backbone too."""
        weightless = {**settings, "backbone": settings["backbone"] | {"weights": "none"}}
        return super().restore(weightless, view, device)
