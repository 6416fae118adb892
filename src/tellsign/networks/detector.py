"""A detector: backbone and head."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from tellsign.networks.backbones.backbone import Backbone


class Detector(nn.Module):
    """A backbone and a head.

    Args:
        backbone: Gives features.
        head: One of `tellsign.networks.heads.HEADS`, built for the backbone's dim.
        frozen: Keep the backbone as it is: no gradients, and BatchNorm uses its stored statistics.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, *, frozen: bool = False) -> None:
        super().__init__()
        self.backbone, self.head, self.frozen = backbone, head, frozen
        if frozen:
            backbone.requires_grad_(False)
            backbone.eval()

    def train(self, mode: bool = True) -> Detector:
        """Switch to training; a frozen backbone stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Logits of fake for preprocessed images."""
        return self.head(self.backbone(x))

    def scores(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """p(fake) for preprocessed images."""
        return self(x).sigmoid()
