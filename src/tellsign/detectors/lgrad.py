"""LGrad: a ResNet-50 that sees how a GAN's discriminator would have an image changed (Tan et al. 2023).

Written from "Learning on Gradients: Generalized Artifacts Representation for GAN-Generated Images Detection" (CVPR
2023). Where its public code decides what the paper leaves open, the place says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.data.pixels import PixelTable, augment
from tellsign.detectors.from_imagenet import CLASSIFIER, FromImageNet, is_imagenet
from tellsign.detectors.protocol import Sample
from tellsign.networks.backbones.backbone import Standardise
from tellsign.networks.resnet50 import resnet50
from tellsign.networks.state import State, load_strictly, read_state
from tellsign.networks.stylegan_discriminator import Discriminator

AT_ONCE = 8
"""Images whose gradients are computed together; each is compared with itself alone, so that it changes none of them."""


def gradients(discriminator: Discriminator, x: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 3 s s"]:
    """Gradient of each image's output with respect to the image, in [-1, 1]."""
    parts = []
    for part in x.split(AT_ONCE):
        with torch.enable_grad():
            pixels = part.detach().requires_grad_()
            parts += torch.autograd.grad(discriminator(pixels).sum(), pixels)
    return torch.cat(parts)


def as_pictures(x: Float[Tensor, "b 3 s s"]) -> UInt8[Tensor, "b 3 s s"]:
    """Gradients as pictures: from an image's least value, which is 0, to its greatest, which is 255.

    All channels share one scale, and halves are rounded to even (public code); a constant gradient is black.
    """
    flat = x.flatten(1)
    flat = flat - flat.min(1, keepdim=True).values
    most = flat.max(1, keepdim=True).values
    return (flat / most.where(most > 0, 1) * 255).round().to(torch.uint8).view_as(x)


class LGrad(nn.Module):
    """The discriminator, which is not trained, and the classifier of its gradients.

    Args:
        side: Of the discriminator's images, in pixels.
    """

    def __init__(self, side: int = 256) -> None:
        super().__init__()
        self.discriminator = Discriminator(side).requires_grad_(False)
        self.classifier = resnet50()

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Logits of fake of normalised pictures of gradients."""
        return self.classifier(x)[:, 0]


class LGradMethod(FromImageNet):
    """`LGrad` on crops of pictures of gradients; the gradients are those of whole images."""

    model: LGrad

    def __init__(self, model: LGrad, settings: Mapping[str, Any], crop: int, device: torch.device) -> None:
        super().__init__(model, settings, crop, device)
        self.to_discriminator = Standardise((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).to(device)

    @staticmethod
    def network(settings: Mapping[str, Any]) -> LGrad:
        """See `CropMethod.network`."""
        return LGrad(settings["side"])

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `Method.begin`; the discriminator has its own file."""
        method, weights = super().begin(settings, sample, start, device), settings["discriminator"]["weights"]
        if weights != "none":
            state = read_state(Path(weights))
            load_strictly(method.model.discriminator, state, f"the file {weights!r} for lgrad's discriminator")
        return method

    @classmethod
    def restore(cls, settings: Mapping[str, Any], view: Mapping[str, Any], device: torch.device) -> Self:
        """See `Method.restore`; what is scored is the whole picture, whatever the training's crops."""
        return super().restore(settings, {"crop": settings["side"]}, device)

    @classmethod
    def starting_state(cls, stored: State, own: State) -> State:
        """See `CropMethod.starting_state`; files hold the classifier alone."""
        state = {name: value for name, value in own.items() if name.startswith("discriminator.")}
        for name, value in stored.items():
            new = is_imagenet(stored) and name.startswith(CLASSIFIER)
            state[f"classifier.{name}"] = own[f"classifier.{name}"] if new else value
        return state

    def training_crops(
        self, table: PixelTable, rows: Int64[Tensor, " b"], generator: torch.Generator
    ) -> UInt8[Tensor, "b 3 s s"]:
        """See `CropMethod.training_crops`: of pictures of gradients."""
        pictures, size = self.scored_crops(table, rows), self.settings["crop"]
        draws = torch.rand((len(rows), 2), generator=generator, dtype=torch.float64)
        places = (draws * (pictures.shape[-1] - size + 1)).long().tolist()
        crops = [one[:, i : i + size, j : j + size] for one, (i, j) in zip(pictures, places, strict=True)]
        return augment(torch.stack(crops), generator, flip=self.settings["flip"], rotate=False)

    def scored_crops(self, table: PixelTable, rows: Int64[Tensor, " b"]) -> UInt8[Tensor, "b 3 s s"]:
        """See `CropMethod.scored_crops`: pictures of gradients, as large as the images."""
        pixels = table.center_crops(rows, self.settings["side"]).to(self.device)
        return as_pictures(gradients(self.model.discriminator, self.to_discriminator(pixels)))
