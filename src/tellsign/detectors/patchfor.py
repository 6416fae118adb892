"""Patchfor: the first blocks of an Xception, which judge every small patch of an image by itself (Chai et al. 2020).

Written from "What makes fake images detectable? Understanding properties that generalize" (arXiv 2008.10588). Where its
public code decides what the paper leaves open, the place says so. The code's class 0 is fake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, cast

import timm
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.detectors.on_crops import CropMethod
from tellsign.errors import choose
from tellsign.methods.losses import binary_cross_entropy

Patches: TypeAlias = Float[Tensor, "b 2 rows columns"]
"""Logits of all patches: fake, real."""


def before_softmax(patches: Patches) -> Float[Tensor, " b"]:
    """The patches' mean logits, of which the softmax is taken then."""
    return (patches[:, 0] - patches[:, 1]).mean((1, 2))


def after_softmax(patches: Patches) -> Float[Tensor, " b"]:
    """The mean of the patches' softmaxes."""
    fake, real = patches.log_softmax(1).flatten(2).logsumexp(2).unbind(1)
    return fake - real


def vote(patches: Patches) -> Float[Tensor, " b"]:
    """The share of the patches that call themselves fake; a patch that is undecided counts."""
    return (patches[:, 0] >= patches[:, 1]).to(patches.dtype).mean((1, 2)).logit()


READINGS: dict[str, Callable[[Patches], Float[Tensor, " b"]]] = {
    "before_softmax": before_softmax,
    "after_softmax": after_softmax,
    "vote": vote,
}
"""How an image's p(fake) follows from its patches, by the public code's names; each gives p(fake)'s logit."""


class Patchfor(nn.Module):
    """An Xception that ends after one of its blocks, and a linear layer on every place of its maps.

    With two blocks it has 0.191 M parameters. Names of layers are those of the public code, which are Cadene's.

    Args:
        blocks: How many, 1 to 11.
        reading: One of `READINGS`.
    """

    def __init__(self, blocks: int = 2, reading: str = "after_softmax") -> None:
        super().__init__()
        self.read = choose(READINGS, reading, "reading")
        whole: Any = timm.create_model("legacy_xception", pretrained=False, num_classes=0)
        for name in ("conv1", "bn1", "conv2", "bn2", *(f"block{number}" for number in range(1, blocks + 1))):
            self.add_module(name, whole.get_submodule(name))
        widths = {1: 128, 2: 256}
        self.convout = nn.Conv2d(widths.get(blocks, 728), 2, 1)
        self.blocks = blocks
        for one in self.modules():  # public code: Xavier's normal weights, a fiftieth of them
            if isinstance(one, nn.Conv2d):
                nn.init.xavier_normal_(one.weight, gain=0.02)
            elif isinstance(one, nn.BatchNorm2d):
                nn.init.normal_(one.weight, 1.0, 0.02)
        nn.init.zeros_(self.convout.bias)  # pyright: ignore[reportArgumentType]

    def maps(self, x: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """What the first two layers give, and every block after them."""
        for number in (1, 2):
            x = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(x)).relu()
        maps = [x]
        for number in range(1, self.blocks + 1):
            maps.append(self.get_submodule(f"block{number}")(maps[-1]))
        return maps

    def patch_logits(self, x: Float[Tensor, "b 3 h w"]) -> Patches:
        """Logits of all patches; nothing stands between the last block and the linear layer (public code)."""
        return self.convout(self.maps(x)[-1])

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Logits of fake of whole images."""
        return self.read(self.patch_logits(x))


class PatchforMethod(CropMethod):
    """`Patchfor` on crops, trained on every patch."""

    mean: ClassVar[Sequence[float]] = (0.5, 0.5, 0.5)
    std: ClassVar[Sequence[float]] = (0.5, 0.5, 0.5)

    @staticmethod
    def network(settings: Mapping[str, Any]) -> Patchfor:
        """See `CropMethod.network`."""
        return Patchfor(settings["blocks"], settings["reading"])

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Cross-entropy of all patches, each of which has its image's label."""
        fake, real = cast(Patchfor, self.model).patch_logits(self.preprocess(pixels)).unbind(1)
        return binary_cross_entropy((fake - real).flatten(), labels[:, None, None].expand_as(fake).flatten())
