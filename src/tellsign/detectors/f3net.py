"""F3-Net: what is left of an image in bands of its frequencies, and statistics of them in small windows.

Written from Qian et al. (2020), "Thinking in Frequency: Face Forgery Detection by Mining Frequency-aware Clues"
(arXiv 2007.09355), which has no code of its own. Two public codes decide what it leaves open, differently: GenImage's
(``mix``) and yyk-wew/F3Net (``both``, ``fad``, ``lfs``). Names of layers are those of either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from tellsign.detectors.on_crops import CropMethod
from tellsign.networks.cosine_bands import ImageBands, WindowStatistics, signed
from tellsign.networks.determinism import drawn_from
from tellsign.networks.state import State


class MixBlock(nn.Module):
    """Each stream adds what the other has where both attend (paper, §3.3); it starts without any exchange.

    Args:
        channels: Of both streams' maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("FAD", "LFS"):
            self.add_module(f"{name}_query", nn.Conv2d(channels, channels, 1))
            self.add_module(f"{name}_key", nn.Conv2d(channels, channels, 1))
            self.add_module(f"{name}_conv", nn.Conv2d(channels, channels, 1, groups=channels))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(channels))
            self.register_parameter(f"{name}_gamma", nn.Parameter(torch.zeros(1)))

    def forward(
        self, image: Float[Tensor, "b c n n"], windows: Float[Tensor, "b c n n"]
    ) -> tuple[Float[Tensor, "b c n n"], Float[Tensor, "b c n n"]]:
        """Both streams, mixed."""
        layer = self.get_submodule
        queries = torch.cat([layer("FAD_query")(image), layer("LFS_query")(windows)], dim=3)
        keys = torch.cat([layer("FAD_key")(image).mT, layer("LFS_key")(windows).mT], dim=2)
        attention = (queries @ keys).softmax(-1)
        sources = {"FAD": (image, windows, "LFS_gamma"), "LFS": (windows, image, "FAD_gamma")}
        mixed = []
        for name, (x, other, gamma) in sources.items():
            attended = other * attention * signed(self.get_parameter(gamma))
            mixed.append(x + layer(f"{name}_bn")(layer(f"{name}_conv")(attended)))
        return mixed[0], mixed[1]


def xception(channels: int, stride: int, classes: int) -> Any:
    """timm's port of the Xception that ImageNet's weights are of (Cadene's), for other channels than three."""
    import timm

    network: Any = timm.create_model("legacy_xception", pretrained=False, in_chans=channels, num_classes=classes)
    network.conv1.stride = (stride, stride)
    return network


def run_blocks(network: Any, x: Float[Tensor, "b c h w"], numbers: range) -> Float[Tensor, "b d h2 w2"]:
    """An Xception's blocks of these numbers, 1 to 12, after its first layers where they begin with 1."""
    if numbers.start == 1:
        x = network.act1(network.bn1(network.conv1(x)))
        x = network.act2(network.bn2(network.conv2(x)))
    for number in numbers:
        x = network.get_submodule(f"block{number}")(x)
    return x


def pooled(network: Any, x: Float[Tensor, "b 1024 h w"]) -> Float[Tensor, "b 2048"]:
    """An Xception's features from what its last block gives."""
    x = network.act3(network.bn3(network.conv3(x)))
    return network.act4(network.bn4(network.conv4(x))).mean((2, 3))


class F3Net(nn.Module):
    """One or two Xceptions that see frequencies instead of an image.

    Args:
        version: See `F3NetRecipe`.
        side: Of the images, in pixels.
    """

    def __init__(self, version: str = "mix", side: int = 299) -> None:
        super().__init__()
        self.mixed = mixed = version == "mix"
        names = ("fad", "lfs") if mixed else ("FAD", "LFS")
        self.streams = [name for name in names if version in ("mix", "both", name.lower())]
        self.network = "excep" if mixed else "xcep"
        for name in self.streams:
            image = name.lower() == "fad"
            head = ImageBands(side, areas=not mixed) if image else WindowStatistics(closed=not mixed)
            self.add_module(f"{name}_head", head)
            network = xception(*((12, 2) if image else (6, 1)), classes=0 if mixed else 1)
            self.add_module(f"{name}_{self.network}", network)
        if mixed:
            self.mix_block7, self.mix_block12 = MixBlock(728), MixBlock(1024)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(2048 * len(self.streams), 2 if mixed else 1)

    def features(self, x: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of the streams of images in [-1, 1], one after another."""
        networks = [self.get_submodule(f"{name}_{self.network}") for name in self.streams]
        maps = [self.get_submodule(f"{name}_head")(x) for name in self.streams]
        for numbers in (range(1, 8), range(8, 13)):
            maps = [run_blocks(network, one, numbers) for network, one in zip(networks, maps, strict=True)]
            if self.mixed:
                maps = self.get_submodule(f"mix_block{numbers[-1]}")(*maps)
        return torch.cat([pooled(network, one) for network, one in zip(networks, maps, strict=True)], dim=1)

    def logits(self, x: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b k"]:
        """The outputs of published files: one logit of fake, or two, of real and of fake."""
        return self.fc(self.dropout(self.features(x)))

    def forward(self, x: Float[Tensor, "b 3 s s"]) -> Float[Tensor, " b"]:
        """Logits of fake; of two outputs their difference, whose sigmoid is the softmax."""
        logits = self.logits(x)
        return logits[:, -1] - logits[:, 0] if self.mixed else logits[:, 0]


class F3NetMethod(CropMethod):
    """`F3Net` on crops."""

    mean: ClassVar[Sequence[float]] = (0.5, 0.5, 0.5)
    std: ClassVar[Sequence[float]] = (0.5, 0.5, 0.5)

    @staticmethod
    def network(settings: Mapping[str, Any]) -> F3Net:
        """See `CropMethod.network`."""
        return F3Net(settings["version"], settings["crop"])

    @classmethod
    def starting_state(cls, stored: State, own: State) -> State:
        """See `CropMethod.starting_state`; an Xception of ImageNet starts both streams.

        Its first layer is repeated over their channels and divided by the number of its copies (public code).
        """
        if "block1.rep.0.conv1.weight" not in stored:
            return stored
        state, taken = {}, {name for name in stored if name.startswith("fc.")}
        for name, value in own.items():
            stream, _, inner = name.partition(".")
            if not stream.endswith("cep") or inner.startswith("fc."):
                state[name] = value
            elif inner in stored:
                taken.add(inner)
                copies = value.shape[1] // 3 if inner == "conv1.weight" else 1
                state[name] = stored[inner].repeat(1, copies, 1, 1) / copies if copies > 1 else stored[inner]
        return state | {name: stored[name] for name in stored.keys() - taken}

    def loss(
        self, pixels: UInt8[Tensor, "b 3 s s"], labels: Int64[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Binary cross-entropy, under dropout."""
        with drawn_from(generator):
            return super().loss(pixels, labels, generator)
