"""AIDE: noise of the windows with the highest and lowest frequencies, beside a CLIP's view of the whole image.

Written from Yan et al. (2025), "A Sanity Check for AI-generated Image Detection" (arXiv 2406.19435). Where its public
code decides what the paper leaves open, the place says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tellsign.data.images import recompress
from tellsign.data.pixels import PixelTable
from tellsign.detectors.from_imagenet import FromImageNet, is_imagenet
from tellsign.detectors.on_crops import IMAGENET_MEAN, IMAGENET_STD
from tellsign.detectors.protocol import Sample
from tellsign.networks.backbones.loading import load_backbone
from tellsign.networks.backbones.open_clip_towers import CLIP_MEAN, CLIP_STD
from tellsign.networks.frequency_windows import chosen
from tellsign.networks.noise_filters import SIDE, noise_filters
from tellsign.networks.state import State

RESNETS = ("model_min", "model_max")
BRANCH = 256
"""Numbers that stand for the whole image."""


def prepared(image: Float[Tensor, "3 h w"], side: int) -> Float[Tensor, "5 3 s s"]:
    """The four windows and the whole of an image in [0, 1], resized to a square and normalised as for ImageNet."""
    options: dict[str, Any] = {"size": (side, side), "mode": "bilinear", "align_corners": False, "antialias": True}
    seen = torch.cat([F.interpolate(chosen(image), **options), F.interpolate(image[None], **options)])
    return (seen - _column(IMAGENET_MEAN, seen)) / _column(IMAGENET_STD, seen)


def _column(values: Sequence[float], like: Tensor) -> Float[Tensor, "c 1 1"]:
    """A value a channel, where another tensor is."""
    return torch.tensor(values, device=like.device)[:, None, None]


def blurred(image: Float[Tensor, "3 h w"], sigma: float) -> Float[Tensor, "3 h w"]:
    """Gaussian blur by a kernel of 3 x 3; the border is mirrored without its own pixel."""
    taps = torch.exp(-0.5 * (torch.arange(-1, 2) / sigma) ** 2)
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    return F.conv2d(F.pad(image[:, None], (1, 1, 1, 1), mode="reflect"), kernel[None, None])[:, 0]


def compressed(image: Float[Tensor, "3 h w"], quality: int) -> Float[Tensor, "3 h w"]:
    """An image in [0, 1] through JPEG."""
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return torch.from_numpy(recompress(pixels, quality)).permute(2, 0, 1) / 255


class NoiseFilters(nn.Module):
    """`noise_filters` of the sum over an image's channels; they are stored, and not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.hpf = nn.Conv2d(3, 30, SIDE, padding=SIDE // 2, bias=False)
        self.hpf.weight = nn.Parameter(noise_filters()[:, None].repeat(1, 3, 1, 1), requires_grad=False)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 30 h w"]:
        """The noise."""
        return self.hpf(x)


class Aide(nn.Module):
    """AIDE. Names of layers are those of the public code; the ResNets' own last layers give nothing to the score.

    Args:
        trunk: A ConvNeXt of timm without classifier, which stays frozen.
        dim: Channels of its map.
    """

    def __init__(self, trunk: Any, dim: int) -> None:
        super().__init__()
        import timm

        self.hpf = NoiseFilters()
        for name in RESNETS:
            self.add_module(name, timm.create_model("resnet50", pretrained=False, in_chans=30))
        self.openclip_convnext_xxl = trunk.requires_grad_(False)
        # the public code computes it without gradients, so that it keeps its random start
        self.convnext_proj = nn.Sequential(nn.Linear(dim, BRANCH)).requires_grad_(False)
        self.fc = nn.ModuleDict({"fc1": nn.Linear(2048 + BRANCH, 1024), "fc2": nn.Linear(1024, 2)})

    def noise(self, x: Float[Tensor, "b 5 3 s s"]) -> Float[Tensor, "b 2048"]:
        """Mean features of the four windows: the lower two by one ResNet, the higher two by the other."""
        parts = []
        for place in range(4):
            resnet: Any = self.get_submodule(RESNETS[place % 2])
            parts.append(resnet.forward_head(resnet.forward_features(self.hpf(x[:, place])), pre_logits=True))
        return torch.stack(parts).mean(0)

    @torch.no_grad()
    def whole(self, x: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 256"]:
        """What the frozen network says of whole images that are normalised by ImageNet's statistics."""
        trunk: Any = self.openclip_convnext_xxl
        pixels = x * _column(IMAGENET_STD, x) + _column(IMAGENET_MEAN, x)
        found = trunk.head.norm(trunk.forward_features((pixels - _column(CLIP_MEAN, x)) / _column(CLIP_STD, x)))
        return self.convnext_proj(found.mean((2, 3)))

    def head(self, features: Float[Tensor, "b 2304"]) -> Float[Tensor, "b 2"]:
        """Outputs for real and for fake."""
        return self.fc["fc2"](F.gelu(self.fc["fc1"](features)))

    def forward(self, x: Float[Tensor, "b 5 3 s s"]) -> Float[Tensor, " b"]:
        """Logits of fake: the difference of both outputs, whose sigmoid is the softmax."""
        real, fake = self.head(torch.cat([self.whole(x[:, 4]), self.noise(x)], dim=1)).unbind(1)
        return fake - real


class AideMethod(FromImageNet):
    """`Aide` on whole images."""

    own: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def front(cls, settings: Mapping[str, Any]) -> nn.Module:
        """Nothing: `prepared` does it all, image by image."""
        return nn.Identity()

    @staticmethod
    def network(settings: Mapping[str, Any]) -> Aide:
        """See `CropMethod.network`; the frozen network has random weights until others are loaded."""
        backbone = load_backbone(settings["backbone"]["name"], "none", settings["seed"])
        return Aide(backbone.net, backbone.dim)

    @classmethod
    def begin(cls, settings: Mapping[str, Any], sample: Sample, start: Path | None, device: torch.device) -> Self:
        """See `CropMethod.begin`; the frozen network has the weights of the recipe's ``backbone``, if it names any."""
        method, network = super().begin(settings, sample, start, device), settings["backbone"]
        if network["weights"] != "none":
            trunk = load_backbone(network["name"], network["weights"], settings["seed"]).net
            method.model.get_submodule("openclip_convnext_xxl").load_state_dict(trunk.state_dict())
        return method

    @classmethod
    def starting_state(cls, stored: State, own: State) -> State:
        """See `CropMethod.starting_state`; of ImageNet's ResNet-50 both take all that has their shapes."""
        if not is_imagenet(stored):
            return stored
        given = {f"{name}.{key}": value for name in RESNETS for key, value in stored.items()}
        return {key: given[key] if key in given and given[key].shape == v.shape else v for key, v in own.items()}

    def training_crops(
        self, table: PixelTable, rows: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, "b 5 3 s s"]:
        """See `CropMethod.training_crops`: what is seen of images of which a few are blurred or compressed."""
        settings, seen = self.settings, []
        shares = torch.tensor([settings["blurred"], settings["compressed"]])
        happens = torch.rand((len(rows), 2), generator=generator) < shares
        sigmas = 0.1 + 2.9 * torch.rand(len(rows), generator=generator)
        qualities = torch.randint(30, 101, (len(rows),), generator=generator)
        for k, row in enumerate(rows.tolist()):
            image = table.image(row) / 255
            image = blurred(image, float(sigmas[k])) if happens[k, 0] else image
            image = compressed(image, int(qualities[k])) if happens[k, 1] else image
            seen.append(prepared(image, settings["side"]))
        return torch.stack(seen)

    def scored_crops(self, table: PixelTable, rows: Int64[Tensor, " b"]) -> Float[Tensor, "b 5 3 s s"]:
        """See `CropMethod.scored_crops`: what is seen of whole images."""
        return torch.stack([prepared(table.image(row) / 255, self.settings["side"]) for row in rows.tolist()])

    def loss(
        self, pixels: Float[Tensor, "b 5 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Cross-entropy of smoothed labels, which for two outputs is that of their difference."""
        smoothing = self.settings["smoothing"]
        wanted = labels * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(self.logits(pixels).float(), wanted)
